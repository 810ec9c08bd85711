;; Uses a handle that it was never given.
(import "wasi:io/poll@0.2.9" "[method]pollable.block" (func $block (param i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $block (i32.const 77)) (call $ok))
