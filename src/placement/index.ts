export { type Room, roomOf } from './capacity.ts';
export { type ClassCapacity, capacityFor } from './class-capacity.ts';
export { fitNode, type NodeFit } from './fit-node.ts';
export { Ledger, ledger, ledgerEntry, type PoolSums, promise } from './ledger.ts';
export { type ClaimRequest, type Obstacle, obstacleOf, type PlacementPolicy, roomFor } from './obstacles.ts';
export { type Place, type PlacementResult, type PlaceRequest, place } from './place.ts';
export { type Reservation, Reservations } from './reservations.ts';
export { PoolStock, type Stock } from './stock.ts';
