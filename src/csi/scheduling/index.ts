export { CapacityWriter } from './capacity-writer.ts';
export { type ClusterClaims, watchClaims } from './cluster-claims.ts';
export { Copies } from './copies.ts';
export { type Choice, PodReservations } from './pod-reservations.ts';
