# What our programs and other projects link: one shared library with everything of ours, ggml and libllama
# inside it and hidden, so that its user needs neither their headers nor their versions.
file(CONFIGURE OUTPUT kvedit_shared.cc CONTENT "// Its code is kvedit_core's.\n")
add_library(kvedit_shared SHARED ${CMAKE_CURRENT_BINARY_DIR}/kvedit_shared.cc)
target_link_libraries(kvedit_shared PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,kvedit_core>)
target_include_directories(kvedit_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(kvedit_shared INTERFACE cxx_std_20)
set(exports ${CMAKE_CURRENT_LIST_DIR}/kvedit.map)
target_link_options(kvedit_shared PRIVATE -Wl,--version-script=${exports})
set_target_properties(kvedit_shared PROPERTIES OUTPUT_NAME kvedit EXPORT_NAME kvedit
                      VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${exports})
