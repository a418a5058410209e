//! The names that `lto_runtime_lib_symbols_list` gives: functions to which LLVM's code generators
//! may add calls on their own, from the compiler's runtime and the C library.
//!
//! In: nothing. Out: one static array. The source of the names is LLVM 19's
//! `RuntimeLibcalls.def`, the newest list that does not depend on the target. LLVM 14's libLTO
//! returns a part of them, 19's all of them, some twice. 22's asks for the calls of an unknown
//! target and so returns none; a linker that goes by that misses `memcpy` in an archive, so ours
//! stays with the names.

#![allow(unsafe_code)] // pointers to static strings, shared between threads

use std::ffi::{CStr, c_char};

/// An array of C strings that C may read from any thread.
pub(crate) struct StaticStrings<const N: usize>(pub [*const c_char; N]);

// SAFETY: the pointers are to string literals, which nobody writes to.
unsafe impl<const N: usize> Sync for StaticStrings<N> {}

/// All the names, each once.
pub(crate) static RUNTIME_LIB_SYMBOLS: StaticStrings<{ NAMES.len() }> = {
    let mut pointers = [std::ptr::null(); NAMES.len()];
    let mut at = 0;
    while at < NAMES.len() {
        pointers[at] = NAMES[at].as_ptr();
        at += 1;
    }
    StaticStrings(pointers)
};

#[rustfmt::skip] // the table is as wide as the page
const NAMES: [&CStr; 456] = [
    c"__ashlhi3", c"__ashlsi3", c"__ashldi3", c"__ashlti3", c"__lshrhi3", c"__lshrsi3",
    c"__lshrdi3", c"__lshrti3", c"__ashrhi3", c"__ashrsi3", c"__ashrdi3", c"__ashrti3", c"__mulqi3",
    c"__mulhi3", c"__mulsi3", c"__muldi3", c"__multi3", c"__mulosi4", c"__mulodi4", c"__muloti4",
    c"__divqi3", c"__divhi3", c"__divsi3", c"__divdi3", c"__divti3", c"__udivqi3", c"__udivhi3",
    c"__udivsi3", c"__udivdi3", c"__udivti3", c"__modqi3", c"__modhi3", c"__modsi3", c"__moddi3",
    c"__modti3", c"__umodqi3", c"__umodhi3", c"__umodsi3", c"__umoddi3", c"__umodti3", c"__negsi2",
    c"__negdi2", c"__clzsi2", c"__clzdi2", c"__clzti2", c"__addsf3", c"__adddf3", c"__addxf3",
    c"__addtf3", c"__gcc_qadd", c"__subsf3", c"__subdf3", c"__subxf3", c"__subtf3", c"__gcc_qsub",
    c"__mulsf3", c"__muldf3", c"__mulxf3", c"__multf3", c"__gcc_qmul", c"__divsf3", c"__divdf3",
    c"__divxf3", c"__divtf3", c"__gcc_qdiv", c"fmodf", c"fmod", c"fmodl", c"fmaf", c"fma", c"fmal",
    c"__powisf2", c"__powidf2", c"__powixf2", c"__powitf2", c"sqrtf", c"sqrt", c"sqrtl", c"cbrtf",
    c"cbrt", c"cbrtl", c"logf", c"log", c"logl", c"__logf_finite", c"__log_finite",
    c"__logl_finite", c"log2f", c"log2", c"log2l", c"__log2f_finite", c"__log2_finite",
    c"__log2l_finite", c"log10f", c"log10", c"log10l", c"__log10f_finite", c"__log10_finite",
    c"__log10l_finite", c"expf", c"exp", c"expl", c"__expf_finite", c"__exp_finite",
    c"__expl_finite", c"exp2f", c"exp2", c"exp2l", c"__exp2f_finite", c"__exp2_finite",
    c"__exp2l_finite", c"exp10f", c"exp10", c"exp10l", c"sinf", c"sin", c"sinl", c"cosf", c"cos",
    c"cosl", c"tanf", c"tan", c"tanl", c"sinhf", c"sinh", c"sinhl", c"coshf", c"cosh", c"coshl",
    c"tanhf", c"tanh", c"tanhl", c"asinf", c"asin", c"asinl", c"acosf", c"acos", c"acosl", c"atanf",
    c"atan", c"atanl", c"powf", c"pow", c"powl", c"__powf_finite", c"__pow_finite",
    c"__powl_finite", c"ceilf", c"ceil", c"ceill", c"truncf", c"trunc", c"truncl", c"rintf",
    c"rint", c"rintl", c"nearbyintf", c"nearbyint", c"nearbyintl", c"roundf", c"round", c"roundl",
    c"roundevenf", c"roundeven", c"roundevenl", c"floorf", c"floor", c"floorl", c"copysignf",
    c"copysign", c"copysignl", c"fminf", c"fmin", c"fminl", c"fmaxf", c"fmax", c"fmaxl", c"lroundf",
    c"lround", c"lroundl", c"llroundf", c"llround", c"llroundl", c"lrintf", c"lrint", c"lrintl",
    c"llrintf", c"llrint", c"llrintl", c"ldexpf", c"ldexp", c"ldexpl", c"frexpf", c"frexp",
    c"frexpl", c"fegetenv", c"fesetenv", c"fegetmode", c"fesetmode", c"__extendbfsf2",
    c"__gcc_stoq", c"__gcc_dtoq", c"__extendxftf2", c"__extenddftf2", c"__extendsftf2",
    c"__extendhftf2", c"__extendhfxf2", c"__extendsfdf2", c"__extendhfdf2", c"__gnu_h2f_ieee",
    c"__gnu_f2h_ieee", c"__truncdfhf2", c"__truncxfhf2", c"__trunctfhf2", c"__truncsfbf2",
    c"__truncdfbf2", c"__truncdfsf2", c"__truncxfsf2", c"__trunctfsf2", c"__gcc_qtos",
    c"__truncxfdf2", c"__trunctfdf2", c"__gcc_qtod", c"__trunctfxf2", c"__fixhfsi", c"__fixhfdi",
    c"__fixhfti", c"__fixsfsi", c"__fixsfdi", c"__fixsfti", c"__fixdfsi", c"__fixdfdi",
    c"__fixdfti", c"__fixxfsi", c"__fixxfdi", c"__fixxfti", c"__fixtfsi", c"__fixtfdi",
    c"__fixtfti", c"__gcc_qtou", c"__fixunshfsi", c"__fixunshfdi", c"__fixunshfti", c"__fixunssfsi",
    c"__fixunssfdi", c"__fixunssfti", c"__fixunsdfsi", c"__fixunsdfdi", c"__fixunsdfti",
    c"__fixunsxfsi", c"__fixunsxfdi", c"__fixunsxfti", c"__fixunstfsi", c"__fixunstfdi",
    c"__fixunstfti", c"__floatsihf", c"__floatsisf", c"__floatsidf", c"__floatsixf", c"__floatsitf",
    c"__gcc_itoq", c"__floatdihf", c"__floatdisf", c"__floatdidf", c"__floatdixf", c"__floatditf",
    c"__floattihf", c"__floattisf", c"__floattidf", c"__floattixf", c"__floattitf",
    c"__floatunsihf", c"__floatunsisf", c"__floatunsidf", c"__floatunsixf", c"__floatunsitf",
    c"__gcc_utoq", c"__floatundihf", c"__floatundisf", c"__floatundidf", c"__floatundixf",
    c"__floatunditf", c"__floatuntihf", c"__floatuntisf", c"__floatuntidf", c"__floatuntixf",
    c"__floatuntitf", c"__extendkftf2", c"__trunctfkf2", c"__eqsf2", c"__eqdf2", c"__eqtf2",
    c"__gcc_qeq", c"__nesf2", c"__nedf2", c"__netf2", c"__gcc_qne", c"__gesf2", c"__gedf2",
    c"__getf2", c"__gcc_qge", c"__ltsf2", c"__ltdf2", c"__lttf2", c"__gcc_qlt", c"__lesf2",
    c"__ledf2", c"__letf2", c"__gcc_qle", c"__gtsf2", c"__gtdf2", c"__gttf2", c"__gcc_qgt",
    c"__unordsf2", c"__unorddf2", c"__unordtf2", c"__gcc_qunord", c"memcpy", c"memmove", c"memset",
    c"calloc", c"__llvm_memcpy_element_unordered_atomic_1",
    c"__llvm_memcpy_element_unordered_atomic_2", c"__llvm_memcpy_element_unordered_atomic_4",
    c"__llvm_memcpy_element_unordered_atomic_8", c"__llvm_memcpy_element_unordered_atomic_16",
    c"__llvm_memmove_element_unordered_atomic_1", c"__llvm_memmove_element_unordered_atomic_2",
    c"__llvm_memmove_element_unordered_atomic_4", c"__llvm_memmove_element_unordered_atomic_8",
    c"__llvm_memmove_element_unordered_atomic_16", c"__llvm_memset_element_unordered_atomic_1",
    c"__llvm_memset_element_unordered_atomic_2", c"__llvm_memset_element_unordered_atomic_4",
    c"__llvm_memset_element_unordered_atomic_8", c"__llvm_memset_element_unordered_atomic_16",
    c"_Unwind_Resume", c"__cxa_end_cleanup", c"__sync_val_compare_and_swap_1",
    c"__sync_val_compare_and_swap_2", c"__sync_val_compare_and_swap_4",
    c"__sync_val_compare_and_swap_8", c"__sync_val_compare_and_swap_16",
    c"__sync_lock_test_and_set_1", c"__sync_lock_test_and_set_2", c"__sync_lock_test_and_set_4",
    c"__sync_lock_test_and_set_8", c"__sync_lock_test_and_set_16", c"__sync_fetch_and_add_1",
    c"__sync_fetch_and_add_2", c"__sync_fetch_and_add_4", c"__sync_fetch_and_add_8",
    c"__sync_fetch_and_add_16", c"__sync_fetch_and_sub_1", c"__sync_fetch_and_sub_2",
    c"__sync_fetch_and_sub_4", c"__sync_fetch_and_sub_8", c"__sync_fetch_and_sub_16",
    c"__sync_fetch_and_and_1", c"__sync_fetch_and_and_2", c"__sync_fetch_and_and_4",
    c"__sync_fetch_and_and_8", c"__sync_fetch_and_and_16", c"__sync_fetch_and_or_1",
    c"__sync_fetch_and_or_2", c"__sync_fetch_and_or_4", c"__sync_fetch_and_or_8",
    c"__sync_fetch_and_or_16", c"__sync_fetch_and_xor_1", c"__sync_fetch_and_xor_2",
    c"__sync_fetch_and_xor_4", c"__sync_fetch_and_xor_8", c"__sync_fetch_and_xor_16",
    c"__sync_fetch_and_nand_1", c"__sync_fetch_and_nand_2", c"__sync_fetch_and_nand_4",
    c"__sync_fetch_and_nand_8", c"__sync_fetch_and_nand_16", c"__sync_fetch_and_max_1",
    c"__sync_fetch_and_max_2", c"__sync_fetch_and_max_4", c"__sync_fetch_and_max_8",
    c"__sync_fetch_and_max_16", c"__sync_fetch_and_umax_1", c"__sync_fetch_and_umax_2",
    c"__sync_fetch_and_umax_4", c"__sync_fetch_and_umax_8", c"__sync_fetch_and_umax_16",
    c"__sync_fetch_and_min_1", c"__sync_fetch_and_min_2", c"__sync_fetch_and_min_4",
    c"__sync_fetch_and_min_8", c"__sync_fetch_and_min_16", c"__sync_fetch_and_umin_1",
    c"__sync_fetch_and_umin_2", c"__sync_fetch_and_umin_4", c"__sync_fetch_and_umin_8",
    c"__sync_fetch_and_umin_16", c"__atomic_load", c"__atomic_load_1", c"__atomic_load_2",
    c"__atomic_load_4", c"__atomic_load_8", c"__atomic_load_16", c"__atomic_store",
    c"__atomic_store_1", c"__atomic_store_2", c"__atomic_store_4", c"__atomic_store_8",
    c"__atomic_store_16", c"__atomic_exchange", c"__atomic_exchange_1", c"__atomic_exchange_2",
    c"__atomic_exchange_4", c"__atomic_exchange_8", c"__atomic_exchange_16",
    c"__atomic_compare_exchange", c"__atomic_compare_exchange_1", c"__atomic_compare_exchange_2",
    c"__atomic_compare_exchange_4", c"__atomic_compare_exchange_8", c"__atomic_compare_exchange_16",
    c"__atomic_fetch_add_1", c"__atomic_fetch_add_2", c"__atomic_fetch_add_4",
    c"__atomic_fetch_add_8", c"__atomic_fetch_add_16", c"__atomic_fetch_sub_1",
    c"__atomic_fetch_sub_2", c"__atomic_fetch_sub_4", c"__atomic_fetch_sub_8",
    c"__atomic_fetch_sub_16", c"__atomic_fetch_and_1", c"__atomic_fetch_and_2",
    c"__atomic_fetch_and_4", c"__atomic_fetch_and_8", c"__atomic_fetch_and_16",
    c"__atomic_fetch_or_1", c"__atomic_fetch_or_2", c"__atomic_fetch_or_4", c"__atomic_fetch_or_8",
    c"__atomic_fetch_or_16", c"__atomic_fetch_xor_1", c"__atomic_fetch_xor_2",
    c"__atomic_fetch_xor_4", c"__atomic_fetch_xor_8", c"__atomic_fetch_xor_16",
    c"__atomic_fetch_nand_1", c"__atomic_fetch_nand_2", c"__atomic_fetch_nand_4",
    c"__atomic_fetch_nand_8", c"__atomic_fetch_nand_16", c"__stack_chk_fail", c"__llvm_deoptimize",
    c"__clear_cache", c"__riscv_flush_icache",
];
