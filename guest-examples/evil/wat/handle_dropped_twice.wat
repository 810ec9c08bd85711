;; Gives a handle back twice.
(import "wasi:clocks/monotonic-clock@0.2.9" "subscribe-duration" (func $sleep (param i64) (result i32)))
(import "wasi:io/poll@0.2.9" "[resource-drop]pollable" (func $drop (param i32)))
(func $call (param i32 i32 i32 i32) (result i32)
  (local i32)
  (local.set 4 (call $sleep (i64.const 1)))
  (call $drop (local.get 4)) (call $drop (local.get 4)) (call $ok))
