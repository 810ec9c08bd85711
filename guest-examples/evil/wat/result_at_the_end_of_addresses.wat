;; Returns a frame whose end is beyond the last address there is.
(func $call (param i32 i32 i32 i32) (result i32)
  (i32.store8 (i32.const 8) (i32.const 0))
  (i32.store (i32.const 12) (i32.const -8))
  (i32.store (i32.const 16) (i32.const 64))
  (i32.const 8))
