;; Writes fifty thousand entries and then asks for a hundred thousand at once: if every answer goes over every change, the host is busy for
;; minutes in one call.
(import "thalweg:udf/state@1.0.0" "write" (func $write (param i32 i32)))
(import "thalweg:udf/state@1.0.0" "lookup" (func $lookup (param i32 i32 i32 i32)))
(data (i32.const 131072)
  (i32 26 1200008  2 50000))  ;; SUBCELL_OPS: slot 2, 50,000 times group 0, put, an empty key and an empty value
(data (i32.const 1572864)
  (i32 22 1600008  100000 0))  ;; SUBKEYS: 100,000 times group 0, the empty key
(func $call (param i32 i32 i32 i32) (result i32)
  (call $write (i32.const 131072) (i32.const 1200016))
  (call $lookup (i32.const 2) (i32.const 1572864) (i32.const 1600016) (i32.const 32))
  (call $ok))
