# Sets ibrl_with_cuda when nvcc is there and compiles a file for every architecture that the kernels are built for.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90")
endif()

# The search CMake itself would make: the cache, $CUDACXX, PATH, then the usual place.
set(nvcc_problem "")
if(CMAKE_CUDA_COMPILER)
  set(nvcc ${CMAKE_CUDA_COMPILER})
elseif(DEFINED ENV{CUDACXX})
  set(nvcc $ENV{CUDACXX})
else()
  find_program(IBRL_NVCC nvcc PATHS /usr/local/cuda/bin)
  set(nvcc ${IBRL_NVCC})
endif()

# One small kernel through nvcc and the host compiler tells whether the pair works at all.
if(NOT nvcc)
  set(nvcc_problem "nvcc was not found")
else()
  set(probe ${CMAKE_CURRENT_BINARY_DIR}/cuda_probe)
  file(WRITE ${probe}.cu "#include <cuda_runtime.h>\n__global__ void probe(float* x) { x[threadIdx.x] = 1.0f; }\n"
    "int main() { return static_cast<int>(cudaGetLastError()); }\n")
  set(probe_command ${nvcc} -std=c++17 -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90
    -cudart static -o ${probe}.out ${probe}.cu)
  if(CMAKE_CUDA_HOST_COMPILER)
    list(APPEND probe_command -ccbin ${CMAKE_CUDA_HOST_COMPILER})
  endif()
  execute_process(COMMAND ${probe_command} RESULT_VARIABLE probe_failed OUTPUT_VARIABLE probe_text ERROR_VARIABLE probe_text)
  if(probe_failed)
    string(STRIP "${probe_text}" probe_text)
    set(nvcc_problem "${nvcc} does not compile a test kernel (${probe_failed}): ${probe_text}")
  endif()
endif()

if(NOT nvcc_problem)
  set(ibrl_with_cuda ON)
  set(CMAKE_CUDA_COMPILER ${nvcc})
elseif(IBRL_CUDA STREQUAL "ON")
  message(FATAL_ERROR "IBRL_CUDA=ON, but ${nvcc_problem}")
else()
  message(WARNING "building ibrl_fast without CUDA kernels: ${nvcc_problem} (IBRL_CUDA=OFF silences this)")
endif()
