// Factories of the erase methods, one a file.
#pragma once

#include "erase/method.h"

namespace kvedit {

const EraseMethod& recompute_method();
const EraseMethod& steer_method();
const EraseMethod& mend_method();
const EraseMethod& repair_method();
const EraseMethod& shift_method();
const EraseMethod& drop_method();

}  // namespace kvedit
