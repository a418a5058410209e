/* What only some summaries hold can be got at through the ThinLTO file API: MemProf, type tests and
 * virtual calls, parameter accesses, virtual tables, type identifiers, CFI functions; and the
 * summaries of full LTO.
 *
 *   thinlto_rare LIBRARY MODULE INDEX CFI FULL
 *
 * MODULE is inputs/rare.ll with a summary, INDEX inputs/rare_index.ll, CFI an index with names of
 * CFI functions, FULL a module compiled with -flto. */

#include "check.h"

#include <thinlto_file.h>

static thin_lto_t index_of(const char *path) {
  thin_lto_t index = CALL(lto_thinlto_create)(path);
  if (!index)
    fprintf(stderr, "%s\n", message());
  CHECK(index);
  return index;
}

static lto_thinlto_summary_info_t info_of(thin_lto_t index, size_t value, size_t *summary) {
  lto_thinlto_summary_info_t s = {.struct_size = sizeof s};
  CHECK(!CALL(lto_thinlto_get_copy)(index, value, 0, summary));
  CHECK(!CALL(lto_thinlto_get_summary)(index, *summary, &s));
  return s;
}

static lto_thinlto_summary_info_t named(thin_lto_t index, const char *name, size_t *summary) {
  size_t value = 0;
  CHECK(!CALL(lto_thinlto_find_name)(index, name, &value));
  return info_of(index, value, summary);
}

static const char *name_of(thin_lto_t index, size_t value) {
  lto_thinlto_value_info_t v = {.struct_size = sizeof v};
  CHECK(!CALL(lto_thinlto_get_value)(index, value, &v));
  return v.name ? v.name : "";
}

static void module(const char *path) {
  thin_lto_t index = index_of(path);
  size_t summary;
  uint64_t ids[8];

  /* An allocation in two contexts. */
  lto_thinlto_summary_info_t s = named(index, "allocates", &summary);
  CHECK(s.num_allocs == 1 && s.num_callsites == 0);
  lto_thinlto_alloc_t alloc = {.struct_size = sizeof alloc};
  CHECK(!CALL(lto_thinlto_get_alloc)(index, summary, 0, &alloc));
  CHECK(alloc.num_contexts == 2);
  CHECK(CALL(lto_thinlto_get_alloc)(index, summary, 1, &alloc));
  for (size_t i = 0; i < 2; i++) {
    lto_thinlto_alloc_context_t context = {.struct_size = sizeof context};
    CHECK(!CALL(lto_thinlto_get_alloc_context)(index, summary, 0, i, &context));
    CHECK(context.alloc_type == i + 1 && context.num_stack_ids == 3 && context.num_sizes == 0);
    CHECK(!CALL(lto_thinlto_get_alloc_context_stack_ids)(index, summary, 0, i, ids, 3));
    CHECK(ids[0] == 2 && ids[1] == 3 && ids[2] == 4 + i);
    CHECK(CALL(lto_thinlto_get_alloc_context_stack_ids)(index, summary, 0, i, ids, 2));
    lto_thinlto_context_size_t size = {.struct_size = sizeof size};
    CHECK(CALL(lto_thinlto_get_alloc_context_size)(index, summary, 0, i, 0, &size));
  }
  lto_thinlto_alloc_context_t none = {.struct_size = sizeof none};
  CHECK(CALL(lto_thinlto_get_alloc_context)(index, summary, 0, 2, &none));

  /* Two call sites of one function. */
  s = named(index, "root", &summary);
  CHECK(s.num_callsites == 2 && s.num_allocs == 0);
  for (size_t i = 0; i < 2; i++) {
    lto_thinlto_callsite_t site = {.struct_size = sizeof site};
    CHECK(!CALL(lto_thinlto_get_callsite)(index, summary, i, &site));
    CHECK(!strcmp(name_of(index, site.callee), "middle") && site.num_stack_ids == 1);
    CHECK(!CALL(lto_thinlto_get_callsite_stack_ids)(index, summary, i, ids, 1));
    CHECK(ids[0] == 3 + 2 * i);
  }
  lto_thinlto_callsite_t beyond = {.struct_size = sizeof beyond};
  CHECK(CALL(lto_thinlto_get_callsite)(index, summary, 2, &beyond));
  CHECK(CALL(lto_thinlto_get_callsite_stack_ids)(index, summary, 2, ids, 8));

  /* Every stack id of the module, by position. */
  lto_thinlto_index_info_t about = {.struct_size = sizeof about};
  CHECK(!CALL(lto_thinlto_get_index_info)(index, &about));
  CHECK(about.num_stack_ids == 4 && about.num_type_id_vtables == 1 && about.num_type_ids == 0);
  CHECK(!about.is_full_lto);
  uint64_t sum = 0, id;
  for (size_t i = 0; i < about.num_stack_ids; i++) {
    CHECK(!CALL(lto_thinlto_get_stack_id)(index, i, &id));
    sum += id;
  }
  CHECK(sum == 2 + 3 + 4 + 5);
  CHECK(CALL(lto_thinlto_get_stack_id)(index, about.num_stack_ids, &id));

  /* A type test that something uses, and a virtual call of constant arguments. */
  s = named(index, "tests", &summary);
  CHECK(s.num_type_tests == 1);
  CHECK(s.num_vcalls[0] == 0 && s.num_vcalls[1] == 0 && s.num_vcalls[2] == 1 && s.num_vcalls[3] == 0);
  CHECK(!CALL(lto_thinlto_get_type_test)(index, summary, 0, &id) && id == 14239196124995071411ull);
  CHECK(CALL(lto_thinlto_get_type_test)(index, summary, 1, &id));
  lto_thinlto_vcall_t call = {.struct_size = sizeof call};
  CHECK(!CALL(lto_thinlto_get_vcall)(index, summary, 2, 0, &call));
  CHECK(call.guid == 561047589743951082ull && call.offset == 16 && call.num_args == 1);
  CHECK(!CALL(lto_thinlto_get_vcall_args)(index, summary, 2, 0, ids, 1) && ids[0] == 42);
  CHECK(CALL(lto_thinlto_get_vcall)(index, summary, 0, 0, &call));
  CHECK(CALL(lto_thinlto_get_vcall)(index, summary, 4, 0, &call));

  /* What a function does with its pointers. */
  s = named(index, "accesses", &summary);
  CHECK(s.num_param_accesses == 2);
  lto_thinlto_param_access_t access = {.struct_size = sizeof access};
  CHECK(!CALL(lto_thinlto_get_param_access)(index, summary, 0, &access));
  CHECK(access.param_no == 0 && access.lower == -3 && access.upper == 1 && access.num_calls == 0);
  CHECK(!CALL(lto_thinlto_get_param_access)(index, summary, 1, &access));
  CHECK(access.param_no == 1 && access.num_calls == 1);
  lto_thinlto_param_access_call_t passed = {.struct_size = sizeof passed};
  CHECK(!CALL(lto_thinlto_get_param_access_call)(index, summary, 1, 0, &passed));
  CHECK(!strcmp(name_of(index, passed.callee), "outside"));
  CHECK(passed.param_no == 0 && passed.lower == 0 && passed.upper == 1);
  CHECK(CALL(lto_thinlto_get_param_access_call)(index, summary, 1, 1, &passed));
  CHECK(CALL(lto_thinlto_get_param_access)(index, summary, 2, &access));

  /* A virtual table, and the types it is compatible with. */
  s = named(index, "vtable", &summary);
  CHECK(s.kind == LTO_THINLTO_VARIABLE && s.vcall_visibility == 2 && s.num_vtable_funcs == 2);
  lto_thinlto_value_offset_t at = {.struct_size = sizeof at};
  CHECK(!CALL(lto_thinlto_get_vtable_func)(index, summary, 0, &at));
  CHECK(!strcmp(name_of(index, at.value), "root") && at.offset == 8);
  CHECK(!CALL(lto_thinlto_get_vtable_func)(index, summary, 1, &at));
  CHECK(!strcmp(name_of(index, at.value), "middle") && at.offset == 16);
  CHECK(CALL(lto_thinlto_get_vtable_func)(index, summary, 2, &at));
  lto_thinlto_type_id_vtables_t type = {.struct_size = sizeof type};
  CHECK(!CALL(lto_thinlto_get_type_id_vtables)(index, 0, &type));
  CHECK(!strcmp(type.name, "a type") && type.num_vtables == 1);
  CHECK(!CALL(lto_thinlto_get_type_id_vtable)(index, 0, 0, &at));
  CHECK(!strcmp(name_of(index, at.value), "vtable") && at.offset == 8);
  CHECK(CALL(lto_thinlto_get_type_id_vtable)(index, 0, 1, &at));
  CHECK(CALL(lto_thinlto_get_type_id_vtables)(index, 1, &type));
  CALL(lto_thinlto_dispose)(index);
}

static void combined(const char *path) {
  thin_lto_t index = index_of(path);
  CHECK(CALL(lto_thinlto_is_combined)(index));
  uint64_t ids[4];
  size_t value, summary;
  lto_thinlto_type_id_t type = {.struct_size = sizeof type};
  CHECK(!CALL(lto_thinlto_get_type_id)(index, 0, &type));
  CHECK(!strcmp(type.name, "a type") && type.guid == 561047589743951082ull && type.num_devirt == 2);
  CHECK(type.size_m1_bit_width == 5 && type.align_log2 == 1 && type.size_m1 == 2);
  CHECK(type.bit_mask == 3 && type.inline_bits == 4);
  CHECK(CALL(lto_thinlto_get_type_id)(index, 1, &type));
  lto_thinlto_devirt_t devirt = {.struct_size = sizeof devirt};
  CHECK(!CALL(lto_thinlto_get_devirt)(index, 0, 0, &devirt));
  CHECK(devirt.offset == 8 && devirt.kind == 1 && !strcmp(devirt.single_impl_name, "only"));
  CHECK(!CALL(lto_thinlto_get_devirt)(index, 0, 1, &devirt));
  CHECK(devirt.offset == 16 && devirt.kind == 0 && devirt.num_by_arg == 2);
  CHECK(CALL(lto_thinlto_get_devirt)(index, 0, 2, &devirt));
  lto_thinlto_devirt_by_arg_t by_arg = {.struct_size = sizeof by_arg};
  CHECK(!CALL(lto_thinlto_get_devirt_by_arg)(index, 0, 1, 0, &by_arg));
  CHECK(by_arg.num_args == 2 && by_arg.kind == 3 && by_arg.byte == 6 && by_arg.bit == 3);
  CHECK(!CALL(lto_thinlto_get_devirt_args)(index, 0, 1, 0, ids, 4) && ids[0] == 1 && ids[1] == 2);
  CHECK(!CALL(lto_thinlto_get_devirt_by_arg)(index, 0, 1, 1, &by_arg));
  CHECK(by_arg.num_args == 1 && by_arg.kind == 1 && by_arg.info == 9);
  CHECK(!CALL(lto_thinlto_get_devirt_args)(index, 0, 1, 1, ids, 1) && ids[0] == 4);
  CHECK(CALL(lto_thinlto_get_devirt_args)(index, 0, 1, 0, ids, 1));
  CHECK(CALL(lto_thinlto_get_devirt_by_arg)(index, 0, 1, 2, &by_arg));

  /* Virtual calls of the other kinds. */
  CHECK(!CALL(lto_thinlto_find_guid)(index, 11, &value));
  lto_thinlto_summary_info_t s = info_of(index, value, &summary);
  CHECK(s.num_vcalls[0] == 1 && s.num_vcalls[1] == 0 && s.num_vcalls[2] == 0 && s.num_vcalls[3] == 1);
  lto_thinlto_vcall_t call = {.struct_size = sizeof call};
  CHECK(!CALL(lto_thinlto_get_vcall)(index, summary, 0, 0, &call));
  CHECK(call.guid == 561047589743951082ull && call.offset == 16 && call.num_args == 0);
  CHECK(!CALL(lto_thinlto_get_vcall)(index, summary, 3, 0, &call));
  CHECK(call.offset == 24 && call.num_args == 2);
  CHECK(!CALL(lto_thinlto_get_vcall_args)(index, summary, 3, 0, ids, 4) && ids[0] == 7 && ids[1] == 9);

  /* What MemProf's cloning decided. */
  CHECK(!CALL(lto_thinlto_find_guid)(index, 12, &value));
  s = info_of(index, value, &summary);
  CHECK(s.num_callsites == 1 && s.num_allocs == 1);
  lto_thinlto_callsite_t site = {.struct_size = sizeof site};
  CHECK(!CALL(lto_thinlto_get_callsite)(index, summary, 0, &site));
  CHECK(site.num_clones == 2 && site.num_stack_ids == 2);
  uint32_t clones[2];
  CHECK(!CALL(lto_thinlto_get_callsite_clones)(index, summary, 0, clones, 2));
  CHECK(clones[0] == 0 && clones[1] == 2);
  CHECK(CALL(lto_thinlto_get_callsite_clones)(index, summary, 0, clones, 1));
  CHECK(!CALL(lto_thinlto_get_callsite_stack_ids)(index, summary, 0, ids, 4));
  CHECK(ids[0] == 77 && ids[1] == 78);
  lto_thinlto_alloc_t alloc = {.struct_size = sizeof alloc};
  CHECK(!CALL(lto_thinlto_get_alloc)(index, summary, 0, &alloc));
  CHECK(alloc.num_versions == 2 && alloc.num_contexts == 2);
  uint8_t versions[2];
  CHECK(!CALL(lto_thinlto_get_alloc_versions)(index, summary, 0, versions, 2));
  CHECK(versions[0] == 1 && versions[1] == 2);
  CHECK(CALL(lto_thinlto_get_alloc_versions)(index, summary, 0, versions, 1));
  CALL(lto_thinlto_dispose)(index);
}

int main(int argc, char **argv) {
  if (argc != 6)
    return 2;
  load_library(argv[1]);
  module(argv[2]);
  combined(argv[3]);

  thin_lto_t cfi = index_of(argv[4]);
  lto_thinlto_index_info_t about = {.struct_size = sizeof about};
  CHECK(!CALL(lto_thinlto_get_index_info)(cfi, &about));
  CHECK(about.num_cfi_defs == 2 && about.num_cfi_decls == 1);
  CHECK(!strcmp(CALL(lto_thinlto_get_cfi_def)(cfi, 0), "another"));
  CHECK(!strcmp(CALL(lto_thinlto_get_cfi_def)(cfi, 1), "defined"));
  CHECK(!strcmp(CALL(lto_thinlto_get_cfi_decl)(cfi, 0), "declared"));
  CHECK(!CALL(lto_thinlto_get_cfi_def)(cfi, 2) && !CALL(lto_thinlto_get_cfi_decl)(cfi, 1));
  CALL(lto_thinlto_dispose)(cfi);

  CHECK(CALL(lto_has_thinlto_index)(argv[5]));
  thin_lto_t full = index_of(argv[5]);
  about.struct_size = sizeof about;
  CHECK(!CALL(lto_thinlto_get_index_info)(full, &about));
  CHECK(about.is_full_lto && !about.is_combined && about.num_modules == 1);
  size_t summary;
  CHECK(named(full, "main", &summary).instruction_count > 3);
  CALL(lto_thinlto_dispose)(full);
  return finish();
}
