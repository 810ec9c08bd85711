;; Fails with a code, a message and a trace of three hundred thousand bytes: they are cut.
(func $call (param i32 i32 i32 i32) (result i32)
  (memory.fill (i32.const 65536) (i32.const 65) (i32.const 300000))
  (i32.store8 (i32.const 8) (i32.const 1))
  (i32.store (i32.const 12) (i32.const 65536)) (i32.store (i32.const 16) (i32.const 300000))
  (i32.store (i32.const 20) (i32.const 65536)) (i32.store (i32.const 24) (i32.const 300000))
  (i32.store (i32.const 28) (i32.const 65536)) (i32.store (i32.const 32) (i32.const 300000))
  (i32.store8 (i32.const 36) (i32.const 1)) (i32.const 8))
