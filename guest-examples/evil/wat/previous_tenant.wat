;; Falls if its memory holds what an earlier instance left there, and leaves something itself.
(func $open (param i32 i32 i32 i32) (result i32)
  (if (i32.load8_u (i32.const 3000000)) (then unreachable))
  (i32.store8 (i32.const 3000000) (i32.const 1))
  (i32.store8 (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 0)) (i32.const 8))
