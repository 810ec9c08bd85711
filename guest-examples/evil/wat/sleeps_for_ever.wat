;; Sleeps for three hundred years, so that its shard would stand still.
(import "wasi:clocks/monotonic-clock@0.2.9" "subscribe-duration" (func $sleep (param i64) (result i32)))
(import "wasi:io/poll@0.2.9" "[method]pollable.block" (func $block (param i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $block (call $sleep (i64.const 9223372036854775807))) (call $ok))
