# Written by edgecompile; changes are lost with the next build.
# For CMake's --toolchain. -DCORE="…" sets other options for the core.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CORE "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=auto" CACHE STRING "GCC's options for the core")
set(CMAKE_C_FLAGS_INIT "${CORE} -Os -ffunction-sections -fdata-sections")
set(CMAKE_CXX_FLAGS_INIT "${CORE} -Os -ffunction-sections -fdata-sections -fno-exceptions -fno-rtti")
