;; Describes itself by bytes that are no text.
(data (i32.const 0) (i8 0xff 0xfe 0xc0 0x80))
(func $describe (result i32)
  (i32.store (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 4)) (i32.const 8))
