/* Written by edgecompile; changes are lost with the next build. */
#include <edgecompile_model.h>

void setup() {
  Serial.begin(115200);
  while (!Serial) {
  }
  Serial.print("model_selftest (0: as measured): ");
  Serial.println(model_selftest());
}

void loop() {}
