# What `cmake --install` gives other projects: one shared library with everything of ours, ggml and
# libllama inside it and hidden, so that its user needs neither their headers nor their versions.
file(CONFIGURE OUTPUT kvedit_shared.cc CONTENT "// Its code is kvedit_core's.\n")
add_library(kvedit_shared SHARED ${CMAKE_CURRENT_BINARY_DIR}/kvedit_shared.cc)
target_link_libraries(kvedit_shared PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,kvedit_core>)
target_include_directories(kvedit_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(kvedit_shared INTERFACE cxx_std_20)
set(exports ${CMAKE_CURRENT_LIST_DIR}/kvedit.map)
target_link_options(kvedit_shared PRIVATE -Wl,--version-script=${exports})
set_target_properties(kvedit_shared PROPERTIES OUTPUT_NAME kvedit EXPORT_NAME kvedit
                      VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${exports})

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/kvedit)
install(TARGETS kvedit_shared EXPORT kvedit LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS kvedit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/kvedit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/adapters DESTINATION ${CMAKE_INSTALL_DATADIR}/kvedit)
install(EXPORT kvedit FILE kveditConfig.cmake NAMESPACE kvedit:: DESTINATION ${package_folder})

include(CMakePackageConfigHelpers)
write_basic_package_version_file(kveditConfigVersion.cmake VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/kveditConfigVersion.cmake DESTINATION ${package_folder})
