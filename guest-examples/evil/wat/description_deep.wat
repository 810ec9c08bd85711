;; Describes itself by a million lists in each other.
(func $describe (result i32)
  (memory.fill (i32.const 65536) (i32.const 91) (i32.const 1000000))
  (i32.store (i32.const 8) (i32.const 65536)) (i32.store (i32.const 12) (i32.const 1000000)) (i32.const 8))
