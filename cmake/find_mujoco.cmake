# Makes the target mujoco_wheel from the headers and the shared library inside the installed mujoco wheel.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c
    "import importlib.util as u; s = u.find_spec('mujoco'); print(list(s.submodule_search_locations)[0] if s else '', end='')"
  OUTPUT_VARIABLE mujoco_folder)
if(mujoco_folder)
  file(GLOB mujoco_library ${mujoco_folder}/libmujoco.so.*)
endif()

if(mujoco_library AND EXISTS ${mujoco_folder}/include/mujoco/mujoco.h)
  add_library(mujoco_wheel SHARED IMPORTED)
  set_target_properties(mujoco_wheel PROPERTIES
    IMPORTED_LOCATION ${mujoco_library}
    INTERFACE_INCLUDE_DIRECTORIES ${mujoco_folder}/include)
elseif(IBRL_MUJOCO STREQUAL "ON")
  message(FATAL_ERROR "IBRL_MUJOCO=ON, but the mujoco wheel is not installed for ${Python_EXECUTABLE}")
else()
  message(WARNING "building ibrl_fast without its MuJoCo pool: no mujoco wheel for ${Python_EXECUTABLE} (IBRL_MUJOCO=OFF silences this)")
endif()
