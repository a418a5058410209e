source_filename = "caller.c"
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-unknown-linux-gnu"

define i32 @calls(i32 %x) {
  %r = call i32 @renamed(i32 %x)
  %q = call i32 @plain(i32 %r)
  ret i32 %q
}

declare i32 @renamed(i32)
declare i32 @plain(i32)
