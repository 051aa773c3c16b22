;; A route to the process "Web!". Routes are the sixth list of a plan; a route is process, port, prefix, options.
(data (i32.const 64) "Web!")
(func $prepare (param i32) (result i32)
  (i32.store (i32.const 2048) (i32.const 64))
  (i32.store (i32.const 2052) (i32.const 4))
  (i32.store (i32.const 4140) (i32.const 2048))
  (i32.store (i32.const 4144) (i32.const 1))
  (i32.const 4096))
