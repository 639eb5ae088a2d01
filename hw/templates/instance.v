// How the machine is instantiated: a module that does nothing but hand on its ports.
//
// One clock for everything. `rst` is synchronous and active high; `irq` is a level.

module eightfold_instance (
@PORTS@
);
  eightfold machine (
@CONNECTIONS@
  );
endmodule
