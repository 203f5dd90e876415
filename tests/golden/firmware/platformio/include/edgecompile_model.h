/* Written by edgecompile; changes are lost with the next build. */
#ifndef EDGECOMPILE_MODEL_H_
#define EDGECOMPILE_MODEL_H_

#include "model.h"
#include "model_io.h"

#endif  /* EDGECOMPILE_MODEL_H_ */
