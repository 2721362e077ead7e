# What `cmake --install` gives other projects, and how they find it.
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/kvedit)
install(TARGETS kvedit_shared EXPORT kvedit LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS kvedit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/kvedit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/adapters DESTINATION ${CMAKE_INSTALL_DATADIR}/kvedit)
install(EXPORT kvedit FILE kveditConfig.cmake NAMESPACE kvedit:: DESTINATION ${package_folder})

include(CMakePackageConfigHelpers)
write_basic_package_version_file(kveditConfigVersion.cmake VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/kveditConfigVersion.cmake DESTINATION ${package_folder})
