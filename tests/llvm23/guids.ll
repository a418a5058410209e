; GUIDs that are not the hash of a name: what a pass leaves that renames after they were given.
source_filename = "guids.c"
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

@variable = internal global i32 1, !guid !3
@other = alias i32 (i32), ptr @renamed

define internal i32 @local(i32 %x) noinline !guid !0 {
  ret i32 %x
}

define i32 @renamed(i32 %x) !guid !1 {
  %r = call i32 @local(i32 %x)
  %q = call i32 @outside(i32 %r)
  %z = load i32, ptr @variable
  %s = add i32 %q, %z
  ret i32 %s
}

define i32 @plain(i32 %x) {
  %r = call i32 @local(i32 %x)
  ret i32 %r
}

declare i32 @outside(i32)

!0 = !{i64 111}
!1 = !{i64 -222}
!3 = !{i64 333}
