;; Fails with a message that is no text.
(data (i32.const 0) (i8 0xff 0xfe 0xc0 0x80))
(func $call (param i32 i32 i32 i32) (result i32)
  (i32.store8 (i32.const 8) (i32.const 1))
  (i32.store (i32.const 12) (i32.const 0)) (i32.store (i32.const 16) (i32.const 4))
  (i32.store (i32.const 20) (i32.const 0)) (i32.store (i32.const 24) (i32.const 4))
  (i32.store (i32.const 28) (i32.const 0)) (i32.store (i32.const 32) (i32.const 4))
  (i32.store8 (i32.const 36) (i32.const 0)) (i32.const 8))
