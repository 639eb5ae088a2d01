/* Eightfold: a driver for the machine.  C99, freestanding but for memcpy, no allocation, no global state.
 *
 * A Program file (.efp, from `eightfold compile`) is used where it lies, in flash or RAM:
 *
 *     struct eightfold_program program;
 *     struct eightfold machine;
 *     result = eightfold_parse(&program, file, file_bytes);         // format, version, checksum, every offset
 *     result = eightfold_load(&machine, &port, &program);           // is it for this machine? then weights to memory
 *     result = eightfold_write_input(&machine, 0, image, bytes);
 *     result = eightfold_run(&machine, NULL, NULL);
 *     result = eightfold_read_output(&machine, 0, scores, bytes);
 *
 * docs/program-file.md specifies the file, docs/registers.md the registers.
 */
#ifndef EIGHTFOLD_H
#define EIGHTFOLD_H

#include <stddef.h>
#include <stdint.h>

#include "eightfold_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

enum eightfold_result {
  EIGHTFOLD_OK = 0,
  EIGHTFOLD_RUNNING,              /* the step is not done yet */
  EIGHTFOLD_NO_PROGRAM,           /* the file is none, or ends too early */
  EIGHTFOLD_PROGRAM_VERSION,      /* the file's format has another version than this driver */
  EIGHTFOLD_DAMAGED,              /* the file's checksum, or an offset in it, is wrong */
  EIGHTFOLD_NO_MACHINE,           /* the IDENTITY register says something else */
  EIGHTFOLD_MACHINE_VERSION,      /* the program is for another version of registers or commands */
  EIGHTFOLD_CONFIGURATION,        /* the program is for a machine with other parameters */
  EIGHTFOLD_MEMORY,               /* the memory is too small for the program, or its base not aligned */
  EIGHTFOLD_ARGUMENT,             /* no such step or tensor, or not as many bytes as it has */
  EIGHTFOLD_STOPPED,              /* the machine stopped with an error: see eightfold_error() */
  EIGHTFOLD_TIMEOUT,              /* the machine has not answered in time; it has been reset if it would */
  EIGHTFOLD_NEEDS_HOST            /* a step is the host's, and nobody computes it */
};

/* How the driver reaches the machine.  Memory offsets are bytes behind base_address.  Where the processor has a data
 * cache that the machine does not see, write_memory cleans and read_memory invalidates it. */
struct eightfold_port {
  void *context;                  /* passed to all functions below */
  uint32_t (*read_register)(void *context, uint32_t offset);
  void (*write_register)(void *context, uint32_t offset, uint32_t value);
  void (*write_memory)(void *context, uint32_t offset, const void *from, uint32_t bytes);
  void (*read_memory)(void *context, uint32_t offset, void *to, uint32_t bytes);
  int (*wait)(void *context);     /* sleeps until the interrupt or for a while; not 0 to give up.  NULL: poll */
  uint32_t base_address;          /* of the memory as the machine sees it */
  uint32_t memory_bytes;          /* how much of it the driver may use */
};

/* Registers and memory in the processor's address space. */
struct eightfold_mapped {
  volatile uint32_t *registers;
  unsigned char *memory;
};

/* A Program file that has been checked. */
struct eightfold_program {
  const unsigned char *file;
};

struct eightfold {
  const struct eightfold_port *port;
  const struct eightfold_program *program;
};

enum eightfold_kind { EIGHTFOLD_ON_MACHINE = 0, EIGHTFOLD_COPY = 1, EIGHTFOLD_SOFTMAX = 2, EIGHTFOLD_OTHER = 3 };

struct eightfold_step {
  uint32_t kind;                  /* enum eightfold_kind */
  uint32_t operator_index;        /* of the network; the first of those on the machine */
  const char *name;               /* the operator's name in the TFLite schema, such as "ADD"; "machine" */
  uint32_t inputs, outputs;       /* how many: see eightfold_step_tensor() */
};

enum eightfold_type {
  EIGHTFOLD_TYPE_OTHER = 0,
  EIGHTFOLD_INT8 = 1,
  EIGHTFOLD_UINT8 = 2,
  EIGHTFOLD_INT16 = 3,
  EIGHTFOLD_INT32 = 4,
  EIGHTFOLD_INT64 = 5,
  EIGHTFOLD_FLOAT32 = 6,
  EIGHTFOLD_BOOL = 7
};

/* A tensor in memory: dense, the last dimension innermost.  uint8 lies there as int8, 128 less; the functions that move
 * tensors convert. */
struct eightfold_tensor {
  uint32_t index;                 /* in the network */
  uint32_t type;                  /* enum eightfold_type */
  uint32_t offset, bytes;         /* in memory */
  const char *name;
  float scale;                    /* real = scale * (value - zero_point); 0 where there is none or one per channel */
  int32_t zero_point;
  uint32_t rank;
  int32_t shape[8];
};

#define EIGHTFOLD_NO_TENSOR 0xffffffffu /* an optional input that is absent, or a constant, which the file does not hold */

/* Computes a step that the driver does not: reads its inputs from memory, writes its outputs there. */
typedef enum eightfold_result (*eightfold_host)(void *context, const struct eightfold *machine, uint32_t step);

/* The port of a machine in the processor's address space; no cache, no interrupt. */
void eightfold_mapped_port(struct eightfold_port *port, struct eightfold_mapped *mapped, uint32_t base_address,
                           uint32_t memory_bytes);

enum eightfold_result eightfold_parse(struct eightfold_program *program, const void *file, size_t bytes);

/* What a program holds.  Tensors are numbered as the file lists them. */
const char *eightfold_name(const struct eightfold_program *program);
uint32_t eightfold_memory_bytes(const struct eightfold_program *program);
uint32_t eightfold_steps(const struct eightfold_program *program);
uint32_t eightfold_inputs(const struct eightfold_program *program);
uint32_t eightfold_outputs(const struct eightfold_program *program);
uint32_t eightfold_input_tensor(const struct eightfold_program *program, uint32_t input);
uint32_t eightfold_output_tensor(const struct eightfold_program *program, uint32_t output);
enum eightfold_result eightfold_tensor(const struct eightfold_program *program, uint32_t tensor,
                                       struct eightfold_tensor *description);
enum eightfold_result eightfold_step(const struct eightfold_program *program, uint32_t step,
                                     struct eightfold_step *description);
/* The tensor that is the step's input of that place, outputs behind inputs. */
uint32_t eightfold_step_tensor(const struct eightfold_program *program, uint32_t step, uint32_t place);

/* Checks that the program is for this machine, resets it, and puts weights and commands into memory.  Port and program
 * must outlive the machine. */
enum eightfold_result eightfold_load(struct eightfold *machine, const struct eightfold_port *port,
                                     const struct eightfold_program *program);

enum eightfold_result eightfold_write_tensor(const struct eightfold *machine, uint32_t tensor, const void *from,
                                             uint32_t bytes);
enum eightfold_result eightfold_read_tensor(const struct eightfold *machine, uint32_t tensor, void *to, uint32_t bytes);
enum eightfold_result eightfold_write_input(const struct eightfold *machine, uint32_t input, const void *from,
                                            uint32_t bytes);
enum eightfold_result eightfold_read_output(const struct eightfold *machine, uint32_t output, void *to, uint32_t bytes);

/* All steps, one after the other.  `host` computes those that the driver cannot; NULL: there must be none. */
enum eightfold_result eightfold_run(const struct eightfold *machine, eightfold_host host, void *context);

/* One step.  A step on the machine can also be started, and then polled or waited for. */
enum eightfold_result eightfold_run_step(const struct eightfold *machine, uint32_t step);
enum eightfold_result eightfold_start(const struct eightfold *machine, uint32_t step);
enum eightfold_result eightfold_poll(const struct eightfold *machine);
/* Polls at most so often, and sleeps in the port's wait between; 0: without end. */
enum eightfold_result eightfold_wait(const struct eightfold *machine, uint32_t polls);

/* Ends whatever runs. */
enum eightfold_result eightfold_reset(const struct eightfold *machine);

/* Of the last run: why it stopped (EIGHTFOLD_ERROR_...), and at which command. */
uint32_t eightfold_error(const struct eightfold *machine, uint32_t *command);
/* Of the last run: a counter by its register, such as EIGHTFOLD_REG_CYCLES. */
uint32_t eightfold_counter(const struct eightfold *machine, uint32_t counter_register);

/* English, for people. */
const char *eightfold_message(enum eightfold_result result);
const char *eightfold_error_message(uint32_t error);

#ifdef __cplusplus
}
#endif
#endif
