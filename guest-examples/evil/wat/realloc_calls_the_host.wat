;; Calls the host while the host asks it for room: nobody is re-entered.
(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(func $realloc (param i32 i32 i32 i32) (result i32) (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 4)) (i32.const 65536))
