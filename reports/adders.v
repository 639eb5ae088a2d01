// Adders that take less of an ECP5 as look-up tables than as carry chains, for Yosys's `techmap`: those of up to 8 bits,
// or 16 where they add a constant.
(* techmap_celltype = "$alu" *)
module adder(A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;

  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  input CI, BI;
  (* force_downto *) output [Y_WIDTH-1:0] X, Y, CO;

  wire _TECHMAP_FAIL_ = Y_WIDTH > 16 || (Y_WIDTH > 8 && !(&_TECHMAP_CONSTMSK_A_) && !(&_TECHMAP_CONSTMSK_B_));

  (* force_downto *) wire [Y_WIDTH-1:0] a, b, addend;
  \$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) widened_a (.A(A), .Y(a));
  \$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) widened_b (.A(B), .Y(b));
  assign addend = BI ? ~b : b;
  assign X = a ^ addend;
  \$lcu #(.WIDTH(Y_WIDTH)) carries (.P(X), .G(a & addend), .CI(CI), .CO(CO));
  assign Y = X ^ {CO, CI};
endmodule
