;; Two functions call each other without end, through a table.
(type $turn (func (param i32) (result i32)))
(table 2 2 funcref)
(elem (i32.const 0) $even $odd)
(func $even (type $turn) (i32.add (i32.const 1) (call_indirect (type $turn) (local.get 0) (i32.const 1))))
(func $odd (type $turn) (i32.add (i32.const 1) (call_indirect (type $turn) (local.get 0) (i32.const 0))))
(func $call (param i32 i32 i32 i32) (result i32)
  (call $even (i32.const 0)))
