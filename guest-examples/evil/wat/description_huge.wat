;; Describes itself by a text that is larger than a host would read.
(func $describe (result i32)
  (drop (memory.grow (i32.const 2000)))
  (memory.fill (i32.const 65536) (i32.const 32) (i32.const 100000000))
  (i32.store (i32.const 8) (i32.const 65536)) (i32.store (i32.const 12) (i32.const 100000000)) (i32.const 8))
