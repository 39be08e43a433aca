/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/cli.h"

/** config_load() - server, credentials and namespace from the options or a kubeconfig; tells what is wrong. CLI_OK or a code. */
int config_load(struct cli *cli);
void config_clear(struct cli *cli);
