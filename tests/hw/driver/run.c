/* Runs a program on the RTL by the driver: run FILE.efp OUT [FAIL_FIRST FAIL_END] < inputs
 *
 * Prints the result, the machine's error and all counters.  With a failing range of memory, a second run follows in
 * which nothing fails: its result comes behind that of the first. */
#include <stdio.h>
#include <stdlib.h>

#include "eightfold.h"
#include "rtl.h"

#define BASE 0x40000000u

static unsigned char file[1 << 24], inputs[1 << 20], outputs[1 << 20];

static size_t read_file(FILE *from, unsigned char *to, size_t limit)
{
  size_t bytes = fread(to, 1, limit, from);
  fclose(from);
  return bytes;
}

static int say(const char *what, enum eightfold_result result)
{
  printf("%s: %s\n", what, eightfold_message(result));
  return result != EIGHTFOLD_OK;
}

static enum eightfold_result infer(const struct eightfold *machine, const struct eightfold_program *program)
{
  enum eightfold_result result = EIGHTFOLD_OK;
  struct eightfold_tensor tensor;
  size_t at = 0;
  uint32_t place;
  for (place = 0; place < eightfold_inputs(program) && result == EIGHTFOLD_OK; place++) {
    eightfold_tensor(program, eightfold_input_tensor(program, place), &tensor);
    result = eightfold_write_input(machine, place, inputs + at, tensor.bytes);
    at += tensor.bytes;
  }
  return result == EIGHTFOLD_OK ? eightfold_run(machine, NULL, NULL) : result;
}

int main(int count, char **arguments)
{
  struct eightfold_port port = {NULL, rtl_read_register, rtl_write_register, rtl_write_memory, rtl_read_memory, NULL,
                                BASE, 1u << 24};
  struct eightfold_program program;
  struct eightfold machine;
  struct eightfold_tensor tensor;
  enum eightfold_result result;
  uint32_t place, command, at = 0;
  FILE *out;
  size_t bytes = read_file(fopen(arguments[1], "rb"), file, sizeof file);

  read_file(stdin, inputs, sizeof inputs);
  if (say("parse", eightfold_parse(&program, file, bytes)))
    return 1;
  rtl_open(BASE, eightfold_memory_bytes(&program));
  port.memory_bytes = eightfold_memory_bytes(&program);
  port.wait = rtl_wait;
  if (say("load", eightfold_load(&machine, &port, &program))) {
    rtl_close();
    return 1;
  }
  if (count > 4)
    rtl_fail((uint32_t)strtoul(arguments[3], NULL, 0), (uint32_t)strtoul(arguments[4], NULL, 0));
  result = infer(&machine, &program);
  say("run", result);
  printf("error: %u", (unsigned)eightfold_error(&machine, &command));
  printf(" %u\n", (unsigned)command);
  if (count > 4) {
    rtl_fail(0, 0);
    port.wait = NULL; /* by polling, for a change */
    result = infer(&machine, &program);
    say("again", result);
    printf("error: %u", (unsigned)eightfold_error(&machine, &command));
    printf(" %u\n", (unsigned)command);
  }
  for (place = 0; place < EIGHTFOLD_COUNTERS; place++)
    printf("%u ", (unsigned)eightfold_counter(&machine, EIGHTFOLD_FIRST_COUNTER + 4 * place));
  printf("\n");
  for (place = 0; place < eightfold_outputs(&program); place++) {
    eightfold_tensor(&program, eightfold_output_tensor(&program, place), &tensor);
    eightfold_read_output(&machine, place, outputs + at, tensor.bytes);
    at += tensor.bytes;
  }
  out = fopen(arguments[2], "wb");
  fwrite(outputs, 1, at, out);
  fclose(out);
  rtl_close();
  return result != EIGHTFOLD_OK;
}
