;; Puts out one frame that is larger than all it may put out.
(func $grow (result i32) (memory.grow (i32.const 1100)))
(func $call (param i32 i32 i32 i32) (result i32)
  (drop (call $grow))
  (i32.store8 (i32.const 8) (i32.const 0))
  (i32.store (i32.const 12) (i32.const 16384))
  (i32.store (i32.const 16) (i32.const 70000000))
  (i32.const 8))
