target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

define i1 @tests(ptr %p) {
  %t = call i1 @llvm.type.test(ptr %p, metadata !"typeid")
  ret i1 %t
}

define void @defined() !type !0 {
  ret void
}

define ptr @takes() {
  ret ptr @declared
}

define ptr @takes_own() {
  ret ptr @defined
}

declare !type !0 void @declared()
declare i1 @llvm.type.test(ptr, metadata)

!llvm.module.flags = !{!1}
!0 = !{i64 0, !"typeid"}
!1 = !{i32 4, !"CFI Canonical Jump Tables", i32 1}
