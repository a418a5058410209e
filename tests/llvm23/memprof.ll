source_filename = "memprof.cpp"
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

declare ptr @_Znam(i64)

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

!0 = !{!1, !3}
!1 = !{!2, !"notcold"}
!2 = !{i64 1001, i64 1002, i64 1003}
!3 = !{!4, !"cold"}
!4 = !{i64 1001, i64 1002, i64 1004}
!5 = !{i64 1001}
!6 = !{i64 1002}
!7 = !{i64 1003}
!8 = !{i64 1004}
