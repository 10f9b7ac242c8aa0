// SPDX-License-Identifier: Apache-2.0
// The part of ONNX Runtime's C interface that Quench calls, declared here so that no header of it
// is needed. The library hands out one append-only table of function pointers; what counts is each
// function's index in it, which shim.c asserts.
//
// Rules that hold for the whole table:
// - A function that returns `cort_status *` succeeded when it returns NULL. Otherwise the status is
//   the caller's and goes to `release_status`; its message lives until then.
// - Objects written to an out parameter are the caller's, to be given to their release function
//   (which accepts NULL), unless "borrowed" is said. Order: values, sessions, options, env.
// - `run` may be called from several threads on one session; a session must not be released while
//   a run is active. Nothing else here is called from two threads on one object.
// - Strings are NUL-terminated UTF-8. No exception crosses the border.
#ifndef CONNXRUNTIME_H
#define CONNXRUNTIME_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// The interface version that is asked for: the oldest whose table holds all that is used here.
enum { cort_api_version = 20 };

typedef struct cort_status cort_status;
typedef struct cort_env cort_env;
typedef struct cort_session cort_session;
typedef struct cort_session_options cort_session_options;
typedef struct cort_run_options cort_run_options;
typedef struct cort_value cort_value;
typedef struct cort_type_info cort_type_info;
/// Element type and shape of a tensor.
typedef struct cort_tensor_info cort_tensor_info;
typedef struct cort_memory_info cort_memory_info;
typedef struct cort_allocator cort_allocator;

/// Called from any thread of the library; severity 0 verbose … 4 fatal. All strings are borrowed.
typedef void (*cort_logger)(
    void *_Nullable opaque, int32_t severity, const char *_Nullable category,
    const char *_Nullable log_id, const char *_Nullable location, const char *_Nullable message);

typedef const char *_Nonnull cort_name;
typedef cort_value *_Nullable cort_value_slot;

/// The table, with gaps where functions are not used. Never read beyond the last member.
typedef struct cort_table {
  const void *_Nullable gap_0[1];
  int32_t (*error_code)(const cort_status *status);                                        // 1
  const char *_Nonnull (*_Nonnull error_message)(const cort_status *status);               // 2
  const void *_Nullable gap_3[1];
  cort_status *_Nullable (*_Nonnull create_env)(                                           // 4
      cort_logger logger, void *_Nullable opaque, int32_t severity, const char *log_id,
      cort_env *_Nullable *_Nonnull out);
  const void *_Nullable gap_5[3];
  /// The bytes may be freed after the call.
  cort_status *_Nullable (*_Nonnull create_session)(                                       // 8
      const cort_env *env, const void *bytes, size_t count, const cort_session_options *options,
      cort_session *_Nullable *_Nonnull out);
  /// An output slot that is NULL is filled with a value that the caller owns.
  cort_status *_Nullable (*_Nonnull run)(                                                  // 9
      cort_session *session, const cort_run_options *_Nullable options,
      const cort_name *_Nullable input_names, const cort_value_slot *_Nullable inputs,
      size_t input_count, const cort_name *_Nonnull output_names, size_t output_count,
      cort_value_slot *_Nonnull outputs);
  cort_status *_Nullable (*_Nonnull create_session_options)(                               // 10
      cort_session_options *_Nullable *_Nonnull out);
  const void *_Nullable gap_11[2];
  cort_status *_Nullable (*_Nonnull set_execution_mode)(                                   // 13
      cort_session_options *options, int32_t mode);
  const void *_Nullable gap_14[4];
  cort_status *_Nullable (*_Nonnull enable_arena)(cort_session_options *options);          // 18
  cort_status *_Nullable (*_Nonnull disable_arena)(cort_session_options *options);         // 19
  const void *_Nullable gap_20[2];
  cort_status *_Nullable (*_Nonnull set_log_severity)(                                     // 22
      cort_session_options *options, int32_t severity);
  cort_status *_Nullable (*_Nonnull set_optimization_level)(                               // 23
      cort_session_options *options, int32_t level);
  cort_status *_Nullable (*_Nonnull set_intra_op_threads)(                                 // 24
      cort_session_options *options, int32_t count);
  cort_status *_Nullable (*_Nonnull set_inter_op_threads)(                                 // 25
      cort_session_options *options, int32_t count);
  const void *_Nullable gap_26[4];
  cort_status *_Nullable (*_Nonnull input_count)(const cort_session *session, size_t *out);   // 30
  cort_status *_Nullable (*_Nonnull output_count)(const cort_session *session, size_t *out);  // 31
  const void *_Nullable gap_32[1];
  cort_status *_Nullable (*_Nonnull input_type)(                                           // 33
      const cort_session *session, size_t index, cort_type_info *_Nullable *_Nonnull out);
  cort_status *_Nullable (*_Nonnull output_type)(                                          // 34
      const cort_session *session, size_t index, cort_type_info *_Nullable *_Nonnull out);
  const void *_Nullable gap_35[1];
  /// The name is freed with `allocator_free`.
  cort_status *_Nullable (*_Nonnull input_name)(                                           // 36
      const cort_session *session, size_t index, cort_allocator *allocator,
      char *_Nullable *_Nonnull out);
  cort_status *_Nullable (*_Nonnull output_name)(                                          // 37
      const cort_session *session, size_t index, cort_allocator *allocator,
      char *_Nullable *_Nonnull out);
  const void *_Nullable gap_38[11];
  /// The data is NOT copied and must outlive the value; the library only reads an input.
  cort_status *_Nullable (*_Nonnull create_tensor)(                                        // 49
      const cort_memory_info *memory, void *_Nullable data, size_t byte_count,
      const int64_t *_Nullable extents, size_t rank, int32_t element_type,
      cort_value *_Nullable *_Nonnull out);
  cort_status *_Nullable (*_Nonnull is_tensor)(const cort_value *value, int32_t *out);     // 50
  /// Borrowed from the value.
  cort_status *_Nullable (*_Nonnull tensor_data)(                                          // 51
      cort_value *value, void *_Nullable *_Nonnull out);
  const void *_Nullable gap_52[3];
  /// Borrowed from the type; NULL when it is no tensor.
  cort_status *_Nullable (*_Nonnull tensor_info_of_type)(                                  // 55
      const cort_type_info *type, const cort_tensor_info *_Nullable *_Nonnull out);
  const void *_Nullable gap_56[4];
  cort_status *_Nullable (*_Nonnull element_type)(                                         // 60
      const cort_tensor_info *info, int32_t *out);
  cort_status *_Nullable (*_Nonnull rank)(const cort_tensor_info *info, size_t *out);      // 61
  /// An extent that is not fixed is written as −1.
  cort_status *_Nullable (*_Nonnull extents)(                                              // 62
      const cort_tensor_info *info, int64_t *_Nullable out, size_t capacity);
  const void *_Nullable gap_63[2];
  cort_status *_Nullable (*_Nonnull tensor_info)(                                          // 65
      const cort_value *value, cort_tensor_info *_Nullable *_Nonnull out);
  const void *_Nullable gap_66[3];
  cort_status *_Nullable (*_Nonnull create_cpu_memory_info)(                               // 69
      int32_t allocator_type, int32_t memory_type, cort_memory_info *_Nullable *_Nonnull out);
  const void *_Nullable gap_70[6];
  cort_status *_Nullable (*_Nonnull allocator_free)(                                       // 76
      cort_allocator *allocator, void *_Nullable memory);
  const void *_Nullable gap_77[1];
  /// One for the whole process; never released.
  cort_status *_Nullable (*_Nonnull default_allocator)(                                    // 78
      cort_allocator *_Nullable *_Nonnull out);
  const void *_Nullable gap_79[13];
  void (*release_env)(cort_env *_Nullable env);                                            // 92
  void (*release_status)(cort_status *_Nullable status);                                   // 93
  void (*release_memory_info)(cort_memory_info *_Nullable info);                           // 94
  void (*release_session)(cort_session *_Nullable session);                                // 95
  void (*release_value)(cort_value *_Nullable value);                                      // 96
  const void *_Nullable gap_97[1];
  void (*release_type_info)(cort_type_info *_Nullable type);                               // 98
  void (*release_tensor_info)(cort_tensor_info *_Nullable info);                           // 99
  void (*release_session_options)(cort_session_options *_Nullable options);                // 100
  const void *_Nullable gap_101[29];
  cort_status *_Nullable (*_Nonnull add_config_entry)(                                     // 130
      cort_session_options *options, const char *key, const char *value);
} cort_table;

/// What `cort_open` answers.
typedef enum cort_open_result {
  cort_opened = 0,
  /// The dynamic linker refused; `detail` holds its words.
  cort_cannot_load = 1,
  /// It is a library, but not this one.
  cort_no_entry_point = 2,
  /// It is older than `cort_api_version`; `detail` holds its version.
  cort_too_old = 3,
} cort_open_result;

/// Opens the library and finds its table.
///
/// Sets ORT_DISABLE_TELEMETRY=1 in the environment first, because versions from 1.29 on start an
/// uploader when they are initialised: call it before other threads read the environment. The
/// library is never closed, since its threads and its code may outlive every object.
/// - `detail`: receives text, always terminated; on success the version, such as "1.28.0".
/// - `table`: receives the table, which lives as long as the process.
cort_open_result cort_open(
    const char *path, char *detail, size_t detail_size,
    const cort_table *_Nullable *_Nonnull table);

#pragma clang assume_nonnull end

#endif
