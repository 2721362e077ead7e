# Installs BUILD into WORK, builds the examples of README and docs/api.md against it there, and runs them on the
# default model.
set(model ${MODELS}/SmolLM2-135M-Instruct.Q4_1.gguf)
file(REMOVE_RECURSE ${WORK})

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${WORK}/build -G ${GENERATOR}
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_PREFIX_PATH=${WORK}/prefix)
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/prefix/bin/kvedit --version)
if(NOT EXISTS ${model})
  message("no model: ${model}")
  return()
endif()
run(${WORK}/build/readme_example ${model})
run(${WORK}/build/tour ${model})
