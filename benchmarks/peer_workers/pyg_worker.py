"""torch_geometric: LightGCN on an edge list, a training step at a time."""

from typing import Any

import numpy as np
import torch
from million import Log
from serving import Unit, serve
from torch_geometric.nn.models import LightGCN

BATCH = 8192


def lightgcn(log: Log) -> Unit:
    """Train as its own example does: pairs drawn with uniform negatives, the loss of the ranking, Adam."""
    users = torch.from_numpy(log.users.astype(np.int64))
    items = torch.from_numpy(log.items.astype(np.int64)) + log.user_count
    edges = torch.stack([torch.cat([users, items]), torch.cat([items, users])])
    nodes = log.user_count + log.item_count
    model = LightGCN(num_nodes=nodes, embedding_dim=64, num_layers=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def unit() -> dict[str, Any]:
        rows = torch.randint(len(users), (BATCH,))
        negatives = torch.randint(log.user_count, nodes, (BATCH,))
        pairs = torch.stack([users[rows].repeat(2), torch.cat([items[rows], negatives])])
        optimizer.zero_grad()
        better, worse = model(edges, pairs).chunk(2)
        model.recommendation_loss(better, worse, node_id=pairs.unique()).backward()
        optimizer.step()
        return {"units": 1}

    return unit


if __name__ == "__main__":
    serve({"lightgcn": lightgcn})
