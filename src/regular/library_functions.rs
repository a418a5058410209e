//! Functions of the C and C++ libraries that LLVM's optimizer knows and may come to call.
//!
//! In: a name in the IR and a target. Out: whether a definition of that name must stay although
//! nobody refers to it yet: the optimizer turns one call into another (printf into puts, a loop
//! into memset), and code generation adds calls of its own, which [`Preserved`] lists.
//!
//! Measured with LLVM 22.1 for each target class of [`Preserved`]: a module that defines every
//! name of LLVM's `TargetLibraryInfo.def` was given to its libLTO, and the merged module's
//! `llvm.compiler.used` read. That is what LLVM's `updateCompilerUsed` asks `TargetLibraryInfo`
//! for.

use crate::symbols::preserved::Preserved;
use crate::symbols::triple::Triple;

/// The names for one target.
pub struct LibraryFunctions {
    generated: Preserved,
    class: u32,
}

impl LibraryFunctions {
    /// The names for a triple.
    pub fn for_triple(triple: &str) -> Self {
        let text = triple.as_bytes();
        let generated = Preserved::for_triple(&Triple::parse(text), text);
        LibraryFunctions { generated, class: generated.class_bit() }
    }

    /// Whether a function of this name must stay.
    pub fn contains(&self, name: &[u8]) -> bool {
        let known = NAMES.binary_search_by(|(entry, _)| (*entry).cmp(name));
        known.is_ok_and(|at| NAMES.get(at).is_some_and(|(_, classes)| classes & self.class != 0))
            || self.generated.contains(name)
    }
}

/// Names in byte order, each with its target classes as [`Preserved::class_bit`] numbers them.
#[rustfmt::skip] // the table is as wide as the page
const NAMES: [(&[u8], u32); 340] = [
    (b"??2@YAPAXI@Z", 0x7c0000), (b"??2@YAPAXIABUnothrow_t@std@@@Z", 0x7c0000),
    (b"??2@YAPEAX_K@Z", 0x7c0000), (b"??2@YAPEAX_KAEBUnothrow_t@std@@@Z", 0x7c0000),
    (b"??3@YAXPAX@Z", 0x7c0000), (b"??3@YAXPAXABUnothrow_t@std@@@Z", 0x7c0000),
    (b"??3@YAXPAXI@Z", 0x7c0000), (b"??3@YAXPEAX@Z", 0x7c0000),
    (b"??3@YAXPEAXAEBUnothrow_t@std@@@Z", 0x7c0000), (b"??3@YAXPEAX_K@Z", 0x7c0000),
    (b"??_U@YAPAXI@Z", 0x7c0000), (b"??_U@YAPAXIABUnothrow_t@std@@@Z", 0x7c0000),
    (b"??_U@YAPEAX_K@Z", 0x7c0000), (b"??_U@YAPEAX_KAEBUnothrow_t@std@@@Z", 0x7c0000),
    (b"??_V@YAXPAX@Z", 0x7c0000), (b"??_V@YAXPAXABUnothrow_t@std@@@Z", 0x7c0000),
    (b"??_V@YAXPAXI@Z", 0x7c0000), (b"??_V@YAXPEAX@Z", 0x7c0000),
    (b"??_V@YAXPEAXAEBUnothrow_t@std@@@Z", 0x7c0000), (b"??_V@YAXPEAX_K@Z", 0x7c0000),
    (b"_IO_getc", 0x800072d), (b"_IO_putc", 0x800072d), (b"_ZdaPv", 0x1f83ffff),
    (b"_ZdaPvRKSt9nothrow_t", 0x1f83ffff), (b"_ZdaPvSt11align_val_t", 0x1f83ffff),
    (b"_ZdaPvSt11align_val_tRKSt9nothrow_t", 0x1f83ffff), (b"_ZdaPvj", 0x1f83ffff),
    (b"_ZdaPvjSt11align_val_t", 0x1f83ffff), (b"_ZdaPvm", 0x1f83ffff),
    (b"_ZdaPvmSt11align_val_t", 0x1f83ffff), (b"_ZdlPv", 0x1f83ffff),
    (b"_ZdlPvRKSt9nothrow_t", 0x1f83ffff), (b"_ZdlPvSt11align_val_t", 0x1f83ffff),
    (b"_ZdlPvSt11align_val_tRKSt9nothrow_t", 0x1f83ffff), (b"_ZdlPvj", 0x1f83ffff),
    (b"_ZdlPvjSt11align_val_t", 0x1f83ffff), (b"_ZdlPvm", 0x1f83ffff),
    (b"_ZdlPvmSt11align_val_t", 0x1f83ffff), (b"_Znaj", 0x1f83ffff),
    (b"_ZnajRKSt9nothrow_t", 0x1f83ffff), (b"_ZnajSt11align_val_t", 0x1f83ffff),
    (b"_ZnajSt11align_val_tRKSt9nothrow_t", 0x1f83ffff), (b"_Znam", 0x1f83ffff),
    (b"_Znam12__hot_cold_t", 0x1f83ffff), (b"_ZnamRKSt9nothrow_t", 0x1f83ffff),
    (b"_ZnamRKSt9nothrow_t12__hot_cold_t", 0x1f83ffff), (b"_ZnamSt11align_val_t", 0x1f83ffff),
    (b"_ZnamSt11align_val_t12__hot_cold_t", 0x1f83ffff),
    (b"_ZnamSt11align_val_tRKSt9nothrow_t", 0x1f83ffff),
    (b"_ZnamSt11align_val_tRKSt9nothrow_t12__hot_cold_t", 0x1f83ffff), (b"_Znwj", 0x1f83ffff),
    (b"_ZnwjRKSt9nothrow_t", 0x1f83ffff), (b"_ZnwjSt11align_val_t", 0x1f83ffff),
    (b"_ZnwjSt11align_val_tRKSt9nothrow_t", 0x1f83ffff), (b"_Znwm", 0x1f83ffff),
    (b"_Znwm12__hot_cold_t", 0x1f83ffff), (b"_ZnwmRKSt9nothrow_t", 0x1f83ffff),
    (b"_ZnwmRKSt9nothrow_t12__hot_cold_t", 0x1f83ffff), (b"_ZnwmSt11align_val_t", 0x1f83ffff),
    (b"_ZnwmSt11align_val_t12__hot_cold_t", 0x1f83ffff),
    (b"_ZnwmSt11align_val_tRKSt9nothrow_t", 0x1f83ffff),
    (b"_ZnwmSt11align_val_tRKSt9nothrow_t12__hot_cold_t", 0x1f83ffff),
    (b"__acos_finite", 0x800072d), (b"__acosf_finite", 0x800072d), (b"__acosh_finite", 0x800072d),
    (b"__acoshf_finite", 0x800072d), (b"__acoshl_finite", 0x800072d),
    (b"__acosl_finite", 0x800072d), (b"__asin_finite", 0x800072d), (b"__asinf_finite", 0x800072d),
    (b"__asinl_finite", 0x800072d), (b"__atan2_finite", 0x800072d), (b"__atan2f_finite", 0x800072d),
    (b"__atan2l_finite", 0x800072d), (b"__atanh_finite", 0x800072d),
    (b"__atanhf_finite", 0x800072d), (b"__atanhl_finite", 0x800072d), (b"__cosh_finite", 0x800072d),
    (b"__coshf_finite", 0x800072d), (b"__coshl_finite", 0x800072d), (b"__cospi", 0x26800),
    (b"__cospif", 0x26800), (b"__cxa_atexit", 0x1fffffff), (b"__cxa_guard_abort", 0x1fffffff),
    (b"__cxa_guard_acquire", 0x1fffffff), (b"__cxa_guard_release", 0x1fffffff),
    (b"__exp10_finite", 0x800072d), (b"__exp10f_finite", 0x800072d),
    (b"__exp10l_finite", 0x800072d), (b"__isoc99_scanf", 0x800072d),
    (b"__isoc99_sscanf", 0x800072d), (b"__kmpc_alloc_shared", 0x1fffffff),
    (b"__kmpc_free_shared", 0x1fffffff), (b"__memccpy_chk", 0x1fffffff),
    (b"__mempcpy_chk", 0x1fffffff), (b"__sincospi_stret", 0x26800), (b"__sincospif_stret", 0x26800),
    (b"__sinh_finite", 0x800072d), (b"__sinhf_finite", 0x800072d), (b"__sinhl_finite", 0x800072d),
    (b"__sinpi", 0x26800), (b"__sinpif", 0x26800), (b"__snprintf_chk", 0x1fffffff),
    (b"__sprintf_chk", 0x1fffffff), (b"__sqrt_finite", 0x800072d), (b"__sqrtf_finite", 0x800072d),
    (b"__sqrtl_finite", 0x800072d), (b"__stpcpy_chk", 0x1fffffff), (b"__stpncpy_chk", 0x1fffffff),
    (b"__strcat_chk", 0x1fffffff), (b"__strcpy_chk", 0x1fffffff), (b"__strdup", 0x800072d),
    (b"__strlcat_chk", 0x1fffffff), (b"__strlcpy_chk", 0x1fffffff), (b"__strlen_chk", 0x1fffffff),
    (b"__strncat_chk", 0x1fffffff), (b"__strncpy_chk", 0x1fffffff), (b"__strndup", 0x1fffffff),
    (b"__strtok_r", 0x800072d), (b"__vsnprintf_chk", 0x1fffffff), (b"__vsprintf_chk", 0x1fffffff),
    (b"abs", 0x1fffffff), (b"access", 0x1fb3ffff), (b"acosh", 0x1fffffff), (b"acoshf", 0x1fffffff),
    (b"acoshl", 0x1fb3ffff), (b"aligned_alloc", 0x1fffffff), (b"asinh", 0x1fffffff),
    (b"asinhf", 0x1fffffff), (b"asinhl", 0x1fb3ffff), (b"atanh", 0x1fffffff),
    (b"atanhf", 0x1fffffff), (b"atanhl", 0x1fb3ffff), (b"atexit", 0x1fffffff),
    (b"atof", 0x1fffffff), (b"atoi", 0x1fffffff), (b"atol", 0x1fffffff), (b"atoll", 0x1fffffff),
    (b"bcmp", 0x80007bf), (b"bcopy", 0x1f83ffff), (b"bzero", 0x1f83ffff), (b"cabs", 0x1fffffff),
    (b"cabsf", 0x1fffffff), (b"cabsl", 0x1fb3ffff), (b"chmod", 0x1fb3ffff), (b"chown", 0x1f83ffff),
    (b"clearerr", 0x1fffffff), (b"closedir", 0x1fb3ffff), (b"ctermid", 0x1f83ffff),
    (b"erf", 0x1fffffff), (b"erff", 0x1fffffff), (b"erfl", 0x1fffffff), (b"execl", 0x1fffffff),
    (b"execle", 0x1fffffff), (b"execlp", 0x1fffffff), (b"execv", 0x1fffffff),
    (b"execvP", 0x1fffffff), (b"execve", 0x1fffffff), (b"execvp", 0x1fffffff),
    (b"execvpe", 0x1fffffff), (b"expm1", 0x1fffffff), (b"expm1f", 0x1fffffff),
    (b"expm1l", 0x1fb3ffff), (b"fabs", 0x1fffffff), (b"fabsf", 0x1ff3ffff), (b"fabsl", 0x1fb3ffff),
    (b"fclose", 0x1fffffff), (b"fdopen", 0x1fb3ffff), (b"feof", 0x1fffffff),
    (b"ferror", 0x1fffffff), (b"fflush", 0x1fffffff), (b"ffs", 0x1f83ffff), (b"ffsl", 0x803ffbf),
    (b"ffsll", 0x803ffbf), (b"fgetc", 0x1fffffff), (b"fgetc_unlocked", 0x800072d),
    (b"fgetpos", 0x1fffffff), (b"fgets", 0x1fffffff), (b"fgets_unlocked", 0x800072d),
    (b"fileno", 0x1fb3ffff), (b"fiprintf", 0x1000000), (b"flockfile", 0x1f83ffff),
    (b"fopen", 0x1fffffff), (b"fopen64", 0x800072d), (b"fork", 0x1fffffff),
    (b"fprintf", 0x1fffffff), (b"fputc", 0x1fffffff), (b"fputc_unlocked", 0x800072d),
    (b"fputs", 0x1fff7fff), (b"fputs$UNIX2003", 0x8000), (b"fputs_unlocked", 0x800072d),
    (b"fread", 0x1fffffff), (b"fread_unlocked", 0x800072d), (b"fscanf", 0x1fffffff),
    (b"fseek", 0x1fffffff), (b"fseeko", 0x1fb3ffff), (b"fseeko64", 0x800072d),
    (b"fsetpos", 0x1fffffff), (b"fstat", 0x1fb3ffff), (b"fstat64", 0x800072d),
    (b"fstatvfs", 0x1f83ffff), (b"fstatvfs64", 0x800072d), (b"ftell", 0x1fffffff),
    (b"ftello", 0x1fb3ffff), (b"ftello64", 0x800072d), (b"ftrylockfile", 0x1f83ffff),
    (b"funlockfile", 0x1f83ffff), (b"fwrite", 0x1fff7fff), (b"fwrite$UNIX2003", 0x8000),
    (b"fwrite_unlocked", 0x800072d), (b"getc", 0x1fffffff), (b"getc_unlocked", 0x800bf2d),
    (b"getchar", 0x1fffffff), (b"getchar_unlocked", 0x800bf2d), (b"getenv", 0x1fffffff),
    (b"getitimer", 0x1f83ffff), (b"getlogin_r", 0x1f83ffff), (b"getpwnam", 0x1f83ffff),
    (b"gets", 0x1fffffff), (b"gettimeofday", 0x1fb3ffff), (b"htonl", 0x1f83ffff),
    (b"htons", 0x1f83ffff), (b"iprintf", 0x1000000), (b"isascii", 0x1fffffff),
    (b"isdigit", 0x1fffffff), (b"labs", 0x1fffffff), (b"lchown", 0x1f83ffff),
    (b"llabs", 0x1fffffff), (b"log1p", 0x1fffffff), (b"log1pf", 0x1fffffff),
    (b"log1pl", 0x1fb3ffff), (b"logb", 0x1fffffff), (b"logbf", 0x1fffffff), (b"logbl", 0x1fb3ffff),
    (b"lstat", 0x1f83ffff), (b"lstat64", 0x800072d), (b"memalign", 0x80007bf),
    (b"memccpy", 0x1fb3ffff), (b"memchr", 0x1fffffff), (b"memcmp", 0x1fffffff),
    (b"mempcpy", 0x1fffffff), (b"memrchr", 0x1f8347ff), (b"mkdir", 0x1fb3ffff),
    (b"mktime", 0x1fffffff), (b"ntohl", 0x1f83ffff), (b"ntohs", 0x1f83ffff), (b"open", 0x1fb3ffff),
    (b"open64", 0x800072d), (b"opendir", 0x1fb3ffff), (b"pclose", 0x1fb3ffff),
    (b"perror", 0x1fffffff), (b"popen", 0x1fb3ffff), (b"posix_memalign", 0x1fffffff),
    (b"pread", 0x1f83ffff), (b"printf", 0x1fffffff), (b"putc", 0x1fffffff),
    (b"putc_unlocked", 0x800bf2d), (b"putchar", 0x1fffffff), (b"putchar_unlocked", 0x800bf2d),
    (b"puts", 0x1fffffff), (b"pwrite", 0x1f83ffff), (b"qsort", 0x1fffffff), (b"read", 0x1fb3ffff),
    (b"readlink", 0x1f83ffff), (b"realloc", 0x1fffffff), (b"reallocf", 0x1fffffff),
    (b"realpath", 0x1f83ffff), (b"remove", 0x1fffffff), (b"rename", 0x1fffffff),
    (b"rewind", 0x1fffffff), (b"rmdir", 0x1fb3ffff), (b"scanf", 0x1fffffff),
    (b"setbuf", 0x1fffffff), (b"setitimer", 0x1f83ffff), (b"setvbuf", 0x1fffffff),
    (b"sincos", 0x1fffffff), (b"sincosf", 0x1fffffff), (b"sincosl", 0x1fffffff),
    (b"siprintf", 0x1000000), (b"snprintf", 0x1fffffff), (b"sprintf", 0x1fffffff),
    (b"sscanf", 0x1fffffff), (b"stat", 0x1fb3ffff), (b"stat64", 0x800072d),
    (b"statvfs", 0x1f83ffff), (b"statvfs64", 0x800072d), (b"stpcpy", 0x1f83ffff),
    (b"stpncpy", 0x1f83ffff), (b"strcasecmp", 0x1fb3ffff), (b"strcat", 0x1fffffff),
    (b"strchr", 0x1fffffff), (b"strcmp", 0x1fffffff), (b"strcoll", 0x1fffffff),
    (b"strcpy", 0x1fffffff), (b"strcspn", 0x1fffffff), (b"strdup", 0x1fffffff),
    (b"strlcat", 0x1fffffff), (b"strlcpy", 0x1fffffff), (b"strlen", 0x1fffffff),
    (b"strncasecmp", 0x1fb3ffff), (b"strncat", 0x1fffffff), (b"strncmp", 0x1fffffff),
    (b"strncpy", 0x1fffffff), (b"strndup", 0x1fffffff), (b"strnlen", 0x1fffffff),
    (b"strpbrk", 0x1fffffff), (b"strrchr", 0x1fffffff), (b"strspn", 0x1fffffff),
    (b"strstr", 0x1fffffff), (b"strtod", 0x1fffffff), (b"strtof", 0x1fffffff),
    (b"strtok", 0x1fffffff), (b"strtok_r", 0x1fffffff), (b"strtol", 0x1fffffff),
    (b"strtold", 0x1fffffff), (b"strtoll", 0x1fffffff), (b"strtoul", 0x1fffffff),
    (b"strtoull", 0x1fffffff), (b"strxfrm", 0x1fffffff), (b"system", 0x1fffffff),
    (b"times", 0x1f83ffff), (b"tmpfile", 0x1fffffff), (b"tmpfile64", 0x800072d),
    (b"toascii", 0x1fffffff), (b"uname", 0x1f83ffff), (b"ungetc", 0x1fffffff),
    (b"unlink", 0x1fb3ffff), (b"unsetenv", 0x1f83ffff), (b"utime", 0x1fb3ffff),
    (b"utimes", 0x1f83ffff), (b"valloc", 0x1fffffff), (b"vfprintf", 0x1fffffff),
    (b"vfscanf", 0x1fffffff), (b"vprintf", 0x1fffffff), (b"vscanf", 0x1fffffff),
    (b"vsnprintf", 0x1fffffff), (b"vsprintf", 0x1fffffff), (b"vsscanf", 0x1fffffff),
    (b"wcslen", 0x1fffffff), (b"write", 0x1fb3ffff),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn targets_differ() {
        let linux = LibraryFunctions::for_triple("x86_64-unknown-linux-gnu");
        let darwin = LibraryFunctions::for_triple("arm64-apple-macosx14.0.0");
        assert!(linux.contains(b"strlen") && darwin.contains(b"strlen"));
        assert!(linux.contains(b"__divti3"), "a call of code generation");
        assert!(linux.contains(b"__isoc99_sscanf") && !darwin.contains(b"__isoc99_sscanf"));
        assert!(darwin.contains(b"memset_pattern16") && !linux.contains(b"memset_pattern16"));
        assert!(!linux.contains(b"fiprintf") && !linux.contains(b"main"));
    }
}
