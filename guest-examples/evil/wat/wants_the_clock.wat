;; Describes that it needs the time of day and a variable. A pipeline that grants neither is refused.
(data (i32.const 32768)
  "{\22functions\22:[{\22name\22:\22f\22,\22kind\22:\22dofn\22,\22input\22:{\22urn\22:\22beam:coder:kv:v1\22,\22components\22:["
  "{\22urn\22:\22beam:coder:bytes:v1\22},{\22urn\22:\22beam:coder:bytes:v1\22}]},\22outputs\22:[{\22name\22:\22main\22,\22coder\22:"
  "{\22urn\22:\22beam:coder:bytes:v1\22}}],\22capabilities\22:[\22clock\22,\22env:REGION\22]}]}")
(func $describe (result i32)
  (i32.store (i32.const 8) (i32.const 32768)) (i32.store (i32.const 12) (i32.const 256))
  (i32.const 8))
