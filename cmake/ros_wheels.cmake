# What building against the ROS 2 wheels, in a virtual environment, needs beyond a ROS distribution. On a
# distribution nothing here changes anything.

# The wheels export include folders of the machine that built them (/opt/python/...), and CMake refuses an
# imported target that names a folder which does not exist.
function(drop_wheel_builder_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      continue()
    endif()
    set(kept ${folders})
    foreach(folder IN LISTS folders)
      if(folder MATCHES "^/opt/python/" AND NOT EXISTS "${folder}")
        list(REMOVE_ITEM kept "${folder}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()

# Where the environment lies inside the source folder (.venv), numpy's headers do too, and CMake refuses to export a
# target that names them. They are for this build alone.
function(keep_source_includes_private)
  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      continue()
    endif()
    set(kept)
    foreach(folder IN LISTS folders)
      cmake_path(IS_PREFIX CMAKE_CURRENT_SOURCE_DIR "${folder}" inside)
      if(inside)
        list(APPEND kept "$<BUILD_INTERFACE:${folder}>")
      else()
        list(APPEND kept "${folder}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()

cmake_language(DEFER CALL drop_wheel_builder_includes)
cmake_language(DEFER CALL keep_source_includes_private)
