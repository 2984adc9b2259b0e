# SPDX-License-Identifier: Apache-2.0
"""Small networks as Keras 2 and Keras 3 save them, in every container, with the framework's own outputs."""
