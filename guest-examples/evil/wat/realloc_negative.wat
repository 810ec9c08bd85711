;; Gives the host the last addresses there are for the input.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const -16))
