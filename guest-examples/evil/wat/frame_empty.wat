;; Returns nothing at all.
(data (i32.const 16384)

)
(global $frame_bytes i32 (i32.const 0))
