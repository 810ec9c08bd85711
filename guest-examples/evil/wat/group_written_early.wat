;; Writes the state of a foreign group through the host, during the call.
(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))
(data (i32.const 16384)
  (i32 20 24  0 1  -1 0  0 0)  ;; CELL_OPS: slot 0, group 2^32 - 1, set
)
(global $frame_bytes i32 (i32.const 32))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $write (i32.const 16384) (global.get $frame_bytes)) (call $ok))
