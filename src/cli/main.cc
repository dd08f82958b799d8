#include "cli/program.h"

int main(int argc, char** argv) { return espy::cli::run(argc, argv); }
