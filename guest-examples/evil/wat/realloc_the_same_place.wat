;; Gives the host the same place again and again, over the frame that it returns: it harms itself alone, and returns what it was given.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 16384))
