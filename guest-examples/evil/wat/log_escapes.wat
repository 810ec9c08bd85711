;; Writes commands of terminals, line ends and a row that does not exist into the log: they are shown, not done.
(import "thalweg:udf/log@1.0.0" "write" (func $log (param i32 i32 i32 i32 i32)))
(data (i32.const 0) "\1b[2J\1b]0;owned\07\0a{\22level\22:\22fake\22}\0d\00\e2\80\ae")
(func $call (param i32 i32 i32 i32) (result i32)
  (call $log (i32.const 2) (i32.const 1) (i32.const 999999) (i32.const 0) (i32.const 36)) (call $ok))
