/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cache/cache.h"
#include "generated/api_types.h"

/* Kubernetes selectors over the labels of an object. A NULL selector chooses everything. */

/** selector_node_labels() - matchLabels and every matchExpression hold for the node. */
bool selector_node_labels(const struct api_node_label_selector *selector, const struct cache_object *node);
/** selector_node_terms() - one of the terms holds; an empty term chooses nothing. */
bool selector_node_terms(const struct api_node_selector_terms *terms, const struct cache_object *node);
/** selector_map() - every wanted label is there with its value. */
bool selector_map(const struct api_pair *wanted, size_t n_wanted, const struct cache_object *object);
/** selector_labels() - matchLabels and every matchExpression hold for the object. */
bool selector_labels(const struct api_label_selector *selector, const struct cache_object *object);
/** selector_map_words() - "a=b, c=d" in @arena. */
const char *selector_map_words(struct arena *arena, const struct api_pair *wanted, size_t n_wanted);
/** selector_tolerates() - whether one of the tolerations covers the taint. */
bool selector_tolerates(const struct api_toleration *tolerations, size_t n_tolerations, const struct api_taint *taint);
