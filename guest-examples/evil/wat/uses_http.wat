;; Calls a part of WASI that is not served.
(import "wasi:http/outgoing-handler@0.2.9" "handle" (func $handle (result i64)))
(func $call (param i32 i32 i32 i32) (result i32)
  (drop (call $handle)) (call $ok))
