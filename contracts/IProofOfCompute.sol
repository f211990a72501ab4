// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Proof of Compute
/// @notice Keeps compute units: what machines are credited for computations that were checked. Units come in batches
/// that a recorder sends; each batch commits to the receipts behind its credits by a Merkle root, so that anybody can
/// check a receipt against the chain alone.
interface IProofOfCompute {
    /// @notice What a batch adds to one wallet. A provider may appear more than once.
    struct Credit {
        address provider;
        uint96 units;
    }

    /// @notice One checked result of one node, field by field as it stands in the leaf.
    struct Receipt {
        /// The assignment id: unique per attempt.
        bytes16 receiptId;
        bytes16 taskId;
        /// ed25519 public key of the node that signed the result.
        bytes32 nodeId;
        /// The wallet that was credited.
        address provider;
        /// The wallet that asked for the computation.
        address requester;
        /// matmul 1, wasm 2, inference 3.
        uint8 kind;
        /// proven 1, replicated 2, attested 3.
        uint8 assurance;
        /// SHA-256 of the serialized specification of the task.
        bytes32 specDigest;
        /// SHA-256 of the output.
        bytes32 resultDigest;
        uint96 units;
        /// Milliseconds since 1970, by the clock of the coordinator that checked the result.
        uint64 acceptedAt;
    }

    /// @notice The units of `provider` have grown to `totalUnits`.
    event ComputeRecorded(address indexed provider, uint256 totalUnits);

    /// @notice A batch of `providers` credits with `units` in all was recorded.
    event BatchRecorded(uint64 indexed batchId, bytes32 indexed root, uint256 providers, uint256 units);

    /// @notice The wallet that may record batches has changed; zero stands for nobody.
    event RecorderChanged(address indexed previousRecorder, address indexed newRecorder);

    /// @notice `account` is not the recorder.
    error NotRecorder(address account);

    /// @notice Batches are recorded in order without gaps; the next is `expected`.
    error BatchOutOfOrder(uint64 expected, uint64 given);

    /// @notice A batch needs a root.
    error ZeroRoot(uint64 batchId);

    /// @notice A batch needs at least one credit.
    error EmptyBatch(uint64 batchId);

    /// @notice The credit at `index` names no provider.
    error ZeroProvider(uint256 index);

    /// @notice The credit at `index` would add nothing to `provider`.
    error ZeroUnits(uint256 index, address provider);

    /// @notice No batch of this id has been recorded.
    error UnknownBatch(uint64 batchId);

    /// @notice Adds one unit by hand, outside of any batch. Only the owner.
    function recordCompute(address provider) external;

    /// @notice Records the next batch. Only the recorder, and not while paused.
    /// @param batchId Must equal {nextBatchId}, so that sending a batch again can never count twice.
    /// @param root Root of OpenZeppelin's StandardMerkleTree over the receipts.
    /// @param credits What the receipts add up to, by provider.
    function recordBatch(uint64 batchId, bytes32 root, Credit[] calldata credits) external;

    /// @notice Names the wallet that may record batches; zero stands for nobody. Only the owner.
    function setRecorder(address newRecorder) external;

    /// @notice Stops {recordBatch}. Only the owner.
    function pause() external;

    /// @notice Lets {recordBatch} go on. Only the owner.
    function unpause() external;

    /// @notice Units that `provider` was credited, in batches and by hand.
    function computeUnits(address provider) external view returns (uint256);

    /// @notice The wallet that may record batches.
    function recorder() external view returns (address);

    /// @notice Id that the next batch must have; the first is 1.
    function nextBatchId() external view returns (uint64);

    /// @notice Root of a recorded batch, zero for one that is not recorded.
    function rootOf(uint64 batchId) external view returns (bytes32);

    /// @notice Whether `receipt` stands in the batch. Hashes the leaf itself, so that no inner node can pass for one.
    /// @param proof Sibling hashes from the leaf to the root.
    function verifyReceipt(uint64 batchId, Receipt calldata receipt, bytes32[] calldata proof)
        external
        view
        returns (bool);
}
