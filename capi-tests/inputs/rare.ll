target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-pc-linux-gnu"

; What only some modules' summaries have: MemProf, type tests and virtual calls, parameter accesses.

declare ptr @_Znam(i64)
declare i1 @llvm.type.test(ptr, metadata)
declare void @llvm.assume(i1)
declare void @outside(ptr)

define ptr @allocates() {
  %a = call ptr @_Znam(i64 10), !memprof !0, !callsite !5
  ret ptr %a
}

define ptr @middle() {
  %a = call ptr @allocates(), !callsite !6
  ret ptr %a
}

define ptr @root() {
  %a = call ptr @middle(), !callsite !7
  %b = call ptr @middle(), !callsite !8
  ret ptr %a
}

define i32 @tests(ptr %object) {
  %vtable = load ptr, ptr %object
  %known = call i1 @llvm.type.test(ptr %vtable, metadata !"a type")
  call void @llvm.assume(i1 %known)
  %slot = getelementptr ptr, ptr %vtable, i32 2
  %function = load ptr, ptr %slot
  %result = call i32 %function(ptr %object, i32 42)
  %used = call i1 @llvm.type.test(ptr %vtable, metadata !"another")
  %wide = zext i1 %used to i32
  %sum = add i32 %result, %wide
  ret i32 %sum
}

define void @accesses(ptr %p, ptr %q) sanitize_memtag {
  %at = getelementptr i8, ptr %p, i64 -3
  store i32 0, ptr %at
  call void @outside(ptr %q)
  ret void
}

@vtable = constant { [3 x ptr] } { [3 x ptr] [ptr null, ptr @root, ptr @middle] }, !type !9, !vcall_visibility !10

!0 = !{!1, !3}
!1 = !{!2, !"notcold"}
!2 = !{i64 1, i64 2, i64 3, i64 4}
!3 = !{!4, !"cold"}
!4 = !{i64 1, i64 2, i64 3, i64 5}
!5 = !{i64 1}
!6 = !{i64 2}
!7 = !{i64 3}
!8 = !{i64 5}
!9 = !{i64 8, !"a type"}
!10 = !{i64 2}
