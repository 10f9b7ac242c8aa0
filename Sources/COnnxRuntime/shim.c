// SPDX-License-Identifier: Apache-2.0
// Opens ONNX Runtime and checks that the table declared in the header has the layout it must have.
#include "COnnxRuntime.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

// The index of each function in the table of interface version 1 and later.
#define AT(member, index) \
  _Static_assert(offsetof(cort_table, member) == (index) * sizeof(void *), #member " moved")
AT(error_code, 1);
AT(error_message, 2);
AT(create_env, 4);
AT(create_session, 8);
AT(run, 9);
AT(create_session_options, 10);
AT(set_execution_mode, 13);
AT(enable_arena, 18);
AT(disable_arena, 19);
AT(set_log_severity, 22);
AT(set_optimization_level, 23);
AT(set_intra_op_threads, 24);
AT(set_inter_op_threads, 25);
AT(input_count, 30);
AT(output_count, 31);
AT(input_type, 33);
AT(output_type, 34);
AT(input_name, 36);
AT(output_name, 37);
AT(create_tensor, 49);
AT(is_tensor, 50);
AT(tensor_data, 51);
AT(tensor_info_of_type, 55);
AT(element_type, 60);
AT(rank, 61);
AT(extents, 62);
AT(tensor_info, 65);
AT(create_cpu_memory_info, 69);
AT(allocator_free, 76);
AT(default_allocator, 78);
AT(release_env, 92);
AT(release_status, 93);
AT(release_memory_info, 94);
AT(release_session, 95);
AT(release_value, 96);
AT(release_type_info, 98);
AT(release_tensor_info, 99);
AT(release_session_options, 100);
AT(add_config_entry, 130);
_Static_assert(sizeof(void *) == 8, "the table is declared for 64-bit machines");

// The one symbol that the library exports for us returns this.
typedef struct cort_base {
  const cort_table *(*get_table)(uint32_t version);
  const char *(*version)(void);
} cort_base;

cort_open_result cort_open(
    const char *path, char *detail, size_t detail_size, const cort_table **table) {
  *table = NULL;
  snprintf(detail, detail_size, "%s", "");
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *words = dlerror();
    snprintf(detail, detail_size, "%s", words ? words : "unknown error");
    return cort_cannot_load;
  }
  const cort_base *(*get_base)(void) = (const cort_base *(*)(void))dlsym(library, "OrtGetApiBase");
  const cort_base *base = get_base ? get_base() : NULL;
  if (!base) return cort_no_entry_point;
  const char *version = base->version();
  snprintf(detail, detail_size, "%s", version ? version : "unknown");
  // The number is compared before the table is asked for, because a refusal is printed by the
  // library itself.
  int major = 0, minor = 0;
  if (!version || sscanf(version, "%d.%d", &major, &minor) != 2 || major != 1 ||
      minor < cort_api_version)
    return cort_too_old;
  *table = base->get_table(cort_api_version);
  return *table ? cort_opened : cort_too_old;
}
